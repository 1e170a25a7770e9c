//! Files that change.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Algorithm;
use crate::config::Egress;
use crate::net::client::Client;
use crate::pipeline::exchange::credential::assertion::Signer;
use crate::pipeline::exchange::credential::file::Reader;
use crate::pipeline::exchange::credential::keeper::Keeper;
use crate::pipeline::exchange::credential::keeper::Kept;
use crate::pipeline::exchange::credential::tests::pair;

const PATIENCE: Duration = Duration::from_secs(30);

async fn newest(keeper: &Keeper<Signer>) -> Arc<Kept<Signer>> {
    keeper.newest(&Reader::default(), PATIENCE).await.unwrap()
}

#[tokio::test]
async fn a_key_is_kept_until_its_files_change() {
    let directory = tempfile::tempdir().unwrap();
    let settings = pair::settings(directory.path(), Algorithm::PS256);
    let (rsa, other) = (pair::rsa(), pair::other_rsa());
    let keeper = Keeper::new(settings.clone(), ());
    assert!(keeper.newest(&Reader::default(), PATIENCE).await.is_err());
    pair::write(&settings, &rsa.certificate, &rsa.key);
    let first = newest(&keeper).await;
    assert!(Arc::ptr_eq(&first, &newest(&keeper).await));
    assert_eq!(first.not_after.as_seconds(), pair::END);
    // written anew with the same content
    pair::write(&settings, &rsa.certificate, &rsa.key);
    assert!(Arc::ptr_eq(&first, &newest(&keeper).await));
    pair::write(&settings, &other.certificate, &other.key);
    let second = newest(&keeper).await;
    assert_ne!(first.content, second.content);
    assert!(second.not_after < first.not_after);
}

#[tokio::test]
async fn while_a_pair_is_half_written_the_one_before_serves_on() {
    let directory = tempfile::tempdir().unwrap();
    let settings = pair::settings(directory.path(), Algorithm::PS256);
    let (rsa, other) = (pair::rsa(), pair::other_rsa());
    let keeper = Keeper::new(settings.clone(), ());
    pair::write(&settings, &rsa.certificate, &rsa.key);
    let first = newest(&keeper).await;
    for (certificate, key) in
        [(other.certificate.as_str(), rsa.key.as_str()), ("", &rsa.key), (&other.certificate, "garbage")]
    {
        pair::write(&settings, certificate, key);
        assert!(Arc::ptr_eq(&first, &newest(&keeper).await));
    }
    std::fs::remove_file(&settings.key).unwrap();
    assert!(Arc::ptr_eq(&first, &newest(&keeper).await));
    pair::write(&settings, &other.certificate, &other.key);
    assert_ne!(first.content, newest(&keeper).await.content);
}

/// Points `..data` at a directory with this pair, as the kubelet does: one rename changes both files.
fn publish(mount: &Path, version: &str, pair: &pair::Pair) {
    let directory = mount.join(version);
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(directory.join("tls.key"), &pair.key).unwrap();
    std::os::unix::fs::symlink(version, mount.join("..data_tmp")).unwrap();
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
}

#[tokio::test]
async fn a_secret_that_kubernetes_swaps_is_followed() {
    let mount = tempfile::tempdir().unwrap();
    let settings = pair::settings(mount.path(), Algorithm::PS256);
    publish(mount.path(), "..2026_01", pair::rsa());
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(Path::new("..data").join(name), mount.path().join(name)).unwrap();
    }
    let keeper = Keeper::new(settings, ());
    let first = newest(&keeper).await;
    publish(mount.path(), "..2026_02", pair::other_rsa());
    assert_ne!(first.content, newest(&keeper).await.content);
}

#[tokio::test]
async fn a_tls_client_is_made_of_any_pair_that_belongs_together() {
    let directory = tempfile::tempdir().unwrap();
    // the algorithm is of assertions, and says nothing about TLS
    let settings = pair::settings(directory.path(), Algorithm::PS256);
    let p256 = pair::p256();
    for (certificate, key, works) in [
        (&p256.certificate, &p256.key, true),
        (&p256.certificate, &p256.traditional, true),
        (&pair::rsa().certificate, &pair::rsa().traditional, true),
        (&pair::rsa().certificate, &pair::other_rsa().key, false),
    ] {
        pair::write(&settings, certificate, key);
        let made = Keeper::<Client>::new(settings.clone(), Egress::Direct)
            .newest(&Reader::default(), PATIENCE)
            .await;
        assert_eq!(made.is_ok(), works, "{made:?}");
        if let Err(error) = made {
            let text = error.to_string();
            assert!(text.contains("tls.crt") && text.contains("tls.key"), "{text}");
        }
    }
}
