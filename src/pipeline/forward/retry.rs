//! Whether and when a request is sent to its upstream once more. Pure.

use std::time::Duration;

use http::Method;
use http::Response;

use crate::config::Retry;
use crate::config::Setback;
use crate::pipeline::forward::Error;
use crate::pipeline::forward::Phase;

/// What may be worth another attempt in an outcome, if it is any of what a route may name.
pub fn setback<B>(outcome: &Result<Response<B>, Error>) -> Option<Setback> {
    match outcome {
        Ok(answer) if answer.status().is_server_error() => Some(Setback::Status(answer.status())),
        Ok(_) => None,
        Err(Error::Connect(_) | Error::Timeout(Phase::Connect)) => Some(Setback::ConnectError),
        Err(Error::Reset(_)) => Some(Setback::Reset),
        // what fares no better the next time, what took all the time there was, and what is the caller's own doing
        Err(
            Error::Tls(_)
            | Error::BadReply(_)
            | Error::Timeout(Phase::Response | Phase::Idle)
            | Error::RequestBody(_)
            | Error::SlowCaller
            | Error::BodyTooLarge(_)
            | Error::Crowded
            | Error::NoRoom
            | Error::NoWebSocket
            | Error::Random(_)
            | Error::Target(_)
            | Error::UnknownRoute,
        ) => None,
    }
}

/// Whether requests of that method may be sent once more.
pub fn takes(retry: &Retry, method: &Method) -> bool {
    retry.methods.contains(method)
}

/// How long to wait before another attempt is made after so many further ones; `None` if there is to be none. `chance` is
/// random: callers who failed together do not come again together.
pub fn pause<B>(
    retry: &Retry,
    outcome: &Result<Response<B>, Error>,
    made: u32,
    chance: u16,
) -> Option<Duration> {
    let is_listed = setback(outcome).is_some_and(|setback| retry.on.contains(&setback));
    if !is_listed || made >= retry.attempts {
        return None;
    }
    let longest = retry.backoff.saturating_mul(2_u32.saturating_pow(made));
    // between half of it and all of it
    let half = longest / 2;
    let more = half.as_nanos() * u128::from(chance) / u128::from(u16::MAX);
    Some(half.saturating_add(Duration::from_nanos(u64::try_from(more).unwrap_or(u64::MAX))))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Duration = Duration::from_millis(100);

    fn retry(on: &[Setback]) -> Retry {
        Retry { attempts: 2, on: on.to_vec(), methods: vec![Method::GET], backoff: BACKOFF }
    }

    struct Case(Result<Response<()>, Error>, Option<Setback>);

    fn answer(status: u16) -> Result<Response<()>, Error> {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(answer)
    }

    #[test]
    fn only_what_is_listed_is_worth_another_attempt() {
        let status = |status| Setback::Status(StatusCode::from_u16(status).unwrap());
        let cases = [
            Case(Err(Error::Connect("refused".into())), Some(Setback::ConnectError)),
            Case(Err(Error::Timeout(Phase::Connect)), Some(Setback::ConnectError)),
            Case(Err(Error::Reset("reset".into())), Some(Setback::Reset)),
            Case(answer(500), Some(status(500))),
            Case(answer(503), Some(status(503))),
            Case(answer(200), None),
            Case(answer(404), None),
            Case(answer(429), None),
            Case(Err(Error::Tls("expired".into())), None),
            Case(Err(Error::BadReply(None)), None),
            Case(Err(Error::Timeout(Phase::Response)), None),
            Case(Err(Error::Timeout(Phase::Idle)), None),
            Case(Err(Error::RequestBody("broke".into())), None),
            Case(Err(Error::BodyTooLarge(crate::pipeline::forward::limit::TooLong(1))), None),
            Case(Err(Error::SlowCaller), None),
            Case(Err(Error::Crowded), None),
            Case(Err(Error::NoRoom), None),
            Case(Err(Error::UnknownRoute), None),
        ];
        let all = [Setback::ConnectError, Setback::Reset, status(500), status(503)];
        for Case(outcome, expected) in &cases {
            assert_eq!(setback(outcome), *expected, "{outcome:?}");
            assert_eq!(pause(&retry(&all), outcome, 0, 0).is_some(), expected.is_some(), "{outcome:?}");
            for listed in all {
                let is_due = pause(&retry(&[listed]), outcome, 0, 0).is_some();
                assert_eq!(is_due, *expected == Some(listed), "{outcome:?} {listed:?}");
            }
        }
        // 502 is not 503
        assert!(pause(&retry(&all), &answer(502), 0, 0).is_none());
    }

    #[test]
    fn attempts_are_counted_and_pauses_double() {
        let retry = Retry { attempts: 3, ..retry(&[Setback::ConnectError]) };
        let failed: Result<Response<()>, Error> = Err(Error::Connect("refused".into()));
        let pauses = |chance| (0..5).map(|made| pause(&retry, &failed, made, chance)).collect::<Vec<_>>();
        assert_eq!(pauses(u16::MAX), [Some(BACKOFF), Some(BACKOFF * 2), Some(BACKOFF * 4), None, None]);
        assert_eq!(pauses(0), [Some(BACKOFF / 2), Some(BACKOFF), Some(BACKOFF * 2), None, None]);
    }

    #[test]
    fn only_listed_methods_are_taken() {
        let retry = Retry { methods: vec![Method::GET, Method::PUT], ..retry(&[]) };
        for (method, takes) in
            [(Method::GET, true), (Method::PUT, true), (Method::POST, false), (Method::HEAD, false)]
        {
            assert_eq!(super::takes(&retry, &method), takes, "{method}");
        }
    }

    proptest! {
        #[test]
        fn any_pause_is_within_its_bounds(made in 0..10_u32, chance in any::<u16>(), backoff in 1..u64::MAX) {
            let backoff = Duration::from_millis(backoff);
            let retry = Retry { attempts: 10, backoff, ..retry(&[Setback::Reset]) };
            let failed: Result<Response<()>, Error> = Err(Error::Reset("reset".into()));
            let longest = backoff.saturating_mul(2_u32.pow(made));
            let pause = pause(&retry, &failed, made, chance).unwrap();
            prop_assert!(longest / 2 <= pause && pause <= longest);
        }
    }
}
