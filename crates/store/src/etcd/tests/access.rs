//! Certificates and passwords.

use std::{fs, net::Ipv4Addr, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tempfile::TempDir;

use super::*;

/// An authority, and what it signed for the members and for clients.
fn certificates(addresses: &[Ipv4Addr]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    for (name, names) in [("server", names), ("client", Vec::new())] {
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &authority).unwrap();
        let file = |end: &str| directory.path().join(format!("{name}.{end}"));
        fs::write(file("pem"), signed.pem()).unwrap();
        fs::write(file("key"), key.serialize_pem()).unwrap();
    }
    directory
}

fn with_certificate(cluster: &EtcdCluster, directory: &Path) -> String {
    let of = |name: &str| directory.join(name).display().to_string();
    let (ca, cert, key) = (of("ca.pem"), of("client.pem"), of("client.key"));
    format!("{}?ca={ca}&cert={cert}&key={key}", cluster.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_a_password_open_the_store_and_a_restart_does_not_close_it() {
    let addresses = EtcdCluster::addresses(1);
    let directory = certificates(&addresses);
    let mut cluster = EtcdCluster::start_tls(&addresses, directory.path(), &[]).unwrap();
    let of = |name: &str| directory.path().join(name).display().to_string();
    let (ca, cert, key) = (of("ca.pem"), of("client.pem"), of("client.key"));
    let as_root = |command: &str| {
        let mut all = vec!["--cacert", &ca, "--cert", &cert, "--key", &key];
        all.extend(command.split(' '));
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for command in [
        "user add root:secret",
        "user grant-role root root",
        "role add wright",
        "role grant-permission wright --prefix=true readwrite wright/",
        "user add builder:pass=word",
        "user grant-role builder wright",
        "auth enable",
    ] {
        cluster.etcdctl(&as_root(command)).unwrap();
    }
    let password = of("password");
    fs::write(&password, "pass=word\n").unwrap();
    let tls = with_certificate(&cluster, directory.path());
    let url = format!("{tls}&user=builder&password-file={password}");

    let store = open(&url).await.unwrap();
    let revision = put(&store, "door", "open").await;
    let mut watch = store.watch(Range::key("door"), revision).await.unwrap();
    // etcd keeps tokens in memory. It makes anew those of its log that its database is behind of; a
    // defragmented database is behind of none.
    cluster
        .etcdctl(&as_root("--user root:secret defrag"))
        .unwrap();
    cluster.member(0).restart().unwrap();
    let revision = put(&store, "door", "shut").await;
    assert_eq!(watch.next().await.unwrap().unwrap()[0].revision, revision);

    for (url, reason) in [
        (
            format!("{tls}&prefix=other/&user=builder&password-file={password}"),
            "permission denied",
        ),
        (
            format!("{tls}&user=nobody&password-file={password}"),
            "authentication failed",
        ),
        (
            format!("{}?ca={ca}", cluster.url()),
            "no member of the etcd cluster answers",
        ),
    ] {
        let refused = open(&url).await.unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
        assert!(!refused.contains("pass=word"), "{refused}");
    }
}
