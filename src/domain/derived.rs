//! Digests that stages derive from what they were given, kept beside it, so that each is derived once.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::domain::digest::Digest;

/// The most digests that are kept in one place; beyond, they are derived anew each time.
const MOST: usize = 16;

/// Who derives. No two are the same, also after one is gone; only clones are.
#[derive(Clone, Debug)]
pub struct Deriver(u64);

impl Deriver {
    /// One that there has never been.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for Deriver {
    fn default() -> Self {
        Self::new()
    }
}

/// A list of digests that only grows, and is read without a lock.
#[derive(Default)]
pub struct Derived(OnceLock<Box<Link>>);

struct Link {
    by: u64,
    /// Held, so that no other is ever found at its address.
    purpose: Arc<dyn Any + Send + Sync>,
    digest: Digest,
    next: Derived,
}

impl Derived {
    /// What `by` derives for `purpose`: the same every time, so that once is enough. Purposes are told apart by
    /// where they are, not by what they say.
    ///
    /// # Errors
    /// What `derive` says. It is not remembered.
    pub fn digest<T: Any + Send + Sync, E>(
        &self,
        by: &Deriver,
        purpose: &Arc<T>,
        derive: impl FnOnce() -> Result<Digest, E>,
    ) -> Result<Digest, E> {
        let mut end = self;
        for _ in 0..MOST {
            match end.0.get() {
                Some(link) if link.by == by.0 && is_at(&link.purpose, purpose) => return Ok(link.digest),
                Some(link) => end = &link.next,
                None => {
                    let digest = derive()?;
                    let link = Link { by: by.0, purpose: purpose.clone(), digest, next: Self::default() };
                    // where another thread was faster, the next call may find its link, or make this one again
                    drop(end.0.set(Box::new(link)));
                    return Ok(digest);
                }
            }
        }
        derive()
    }
}

fn is_at<T>(one: &Arc<dyn Any + Send + Sync>, other: &Arc<T>) -> bool {
    Arc::as_ptr(one).cast::<()>() == Arc::as_ptr(other).cast::<()>()
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derived(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn of(text: &str) -> Result<Digest, Infallible> {
        Ok(Digest::of(text.as_bytes()))
    }

    #[test]
    fn a_digest_is_derived_once_for_each_deriver_and_purpose() {
        let derived = Derived::default();
        let derivers = [Deriver::new(), Deriver::new()];
        let purposes = [Arc::new(String::from("same")), Arc::new(String::from("same"))];
        for (at, deriver) in derivers.iter().enumerate() {
            for (on, purpose) in purposes.iter().enumerate() {
                let text = format!("{at} {on}");
                assert_eq!(derived.digest(deriver, purpose, || of(&text)), of(&text));
            }
        }
        let again = derived.digest(&derivers[1], &purposes[0], || panic!("derived again"));
        assert_eq!(again, of("1 0"));
    }

    #[test]
    fn a_purpose_that_is_gone_is_never_mistaken_for_a_new_one() {
        let (derived, deriver) = (Derived::default(), Deriver::new());
        for number in 0..100 {
            // an allocation that is freed is soon made again at the same address
            let purpose = Arc::new(number);
            let text = number.to_string();
            assert_eq!(derived.digest(&deriver, &purpose, || of(&text)), of(&text));
        }
    }

    #[test]
    fn beyond_its_bound_everything_is_derived_anew() {
        let (derived, deriver) = (Derived::default(), Deriver::new());
        let purposes: Vec<Arc<usize>> = (0..MOST + 5).map(Arc::new).collect();
        let count = |found: &mut usize| {
            for purpose in &purposes {
                let digest = derived.digest(&deriver, purpose, || {
                    *found += 1;
                    of(&purpose.to_string())
                });
                assert_eq!(digest, of(&purpose.to_string()));
            }
        };
        let (mut first, mut second) = (0, 0);
        count(&mut first);
        count(&mut second);
        assert_eq!((first, second), (MOST + 5, 5));
    }

    #[test]
    fn a_failure_is_not_remembered() {
        let (derived, deriver, purpose) = (Derived::default(), Deriver::new(), Arc::new(()));
        assert_eq!(derived.digest(&deriver, &purpose, || Err("not now")), Err("not now"));
        let later = derived.digest(&deriver, &purpose, || Ok::<_, &str>(Digest::of(b"x")));
        assert_eq!(later, Ok(Digest::of(b"x")));
    }

    #[test]
    fn threads_that_derive_at_once_agree() {
        let (derived, deriver) = (Derived::default(), Deriver::new());
        let purposes: Vec<Arc<usize>> = (0..MOST).map(Arc::new).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for purpose in purposes.iter().chain(&purposes) {
                        let text = purpose.to_string();
                        assert_eq!(derived.digest(&deriver, purpose, || of(&text)), of(&text));
                    }
                });
            }
        });
    }
}
