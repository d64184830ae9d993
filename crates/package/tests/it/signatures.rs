//! Who may have signed what, and what is said where nobody trusted did.

use std::{fs, os::unix::fs::PermissionsExt};

use wright_package::{Error, Keyring, PrivateKey, PublicKey, Signature, signature_path, verify};

use crate::support::{built, hello};

#[test]
fn a_trusted_keys_signature_is_good() {
    let scratch = hello();
    let built = built(&scratch);
    let key = PrivateKey::generate();
    let keyring = Keyring::from_iter([PrivateKey::generate().public(), key.public()]);
    verify(
        &built.archive,
        &built.id,
        &key.sign(&built.id.digest),
        &keyring,
    )
    .unwrap();
}

#[test]
fn an_unknown_key_is_named() {
    let scratch = hello();
    let built = built(&scratch);
    let key = PrivateKey::generate();
    let error = verify(
        &built.archive,
        &built.id,
        &key.sign(&built.id.digest),
        &Keyring::default(),
    )
    .unwrap_err();
    assert!(
        matches!(&error, Error::UnknownKey { package, key: id } if package == "hello@1.0.0" && *id == key.public().id())
    );
    assert!(
        error
            .to_string()
            .contains("add its public key to the keyring"),
        "{error}"
    );
}

#[test]
fn another_archives_signature_is_wrong() {
    let scratch = hello();
    let built = built(&scratch);
    let key = PrivateKey::generate();
    let keyring = Keyring::from_iter([key.public()]);
    let signature = key.sign(&wright_model::Digest::of(b"another"));
    let error = verify(&built.archive, &built.id, &signature, &keyring).unwrap_err();
    assert!(matches!(error, Error::WrongSignature { .. }), "{error}");
}

#[test]
fn a_signature_under_anothers_name_is_wrong() {
    let scratch = hello();
    let built = built(&scratch);
    let (forger, trusted) = (PrivateKey::generate(), PrivateKey::generate());
    let mut signature = forger.sign(&built.id.digest);
    signature.key_id = trusted.public().id();
    let error = verify(
        &built.archive,
        &built.id,
        &signature,
        &Keyring::from_iter([trusted.public()]),
    )
    .unwrap_err();
    assert!(matches!(error, Error::WrongSignature { .. }), "{error}");
}

#[test]
fn changed_bytes_are_told_from_a_wrong_signature() {
    let scratch = hello();
    let built = built(&scratch);
    let key = PrivateKey::generate();
    let mut bytes = fs::read(&built.archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&built.archive, bytes).unwrap();
    let keyring = Keyring::from_iter([key.public()]);
    let error = verify(
        &built.archive,
        &built.id,
        &key.sign(&built.id.digest),
        &keyring,
    )
    .unwrap_err();
    assert!(
        matches!(&error, Error::WrongDigest { package, .. } if package == "hello@1.0.0"),
        "{error}"
    );
}

#[test]
fn a_signature_survives_its_file() {
    let scratch = hello();
    let built = built(&scratch);
    let signature = PrivateKey::generate().sign(&built.id.digest);
    let file = signature_path(&built.archive);
    assert!(file.ends_with("hello-1.0.0.wpk.sig"));
    fs::write(&file, format!("{signature}\n")).unwrap();
    assert_eq!(
        Signature::try_from(fs::read(&file).unwrap().as_slice()).unwrap(),
        signature
    );
    for bad in [
        &b""[..],
        b"\xff",
        b"wright-signature-1 0123456789abcdef 00",
        b"PGP 0123456789abcdef 00",
    ] {
        assert!(Signature::try_from(bad).is_err());
    }
}

#[test]
fn a_key_survives_its_file_which_only_its_owner_reads() {
    let scratch = hello();
    let file = scratch.path().join("keys/signing.pem");
    let key = PrivateKey::generate();
    key.save(&file).unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(PrivateKey::load(&file).unwrap().public(), key.public());
    assert!(
        matches!(key.save(&file), Err(Error::Exists { .. })),
        "a key is never written over"
    );

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = PrivateKey::load(&file).unwrap_err();
    assert!(
        matches!(&error, Error::BadKey { why, .. } if why.contains("chmod 600")),
        "{error}"
    );
}

#[test]
fn a_keyring_is_a_directory_of_public_keys() {
    let scratch = hello();
    let dir = scratch.path().join("trusted");
    assert_eq!(Keyring::load(&dir).unwrap(), Keyring::default());
    let keys: Vec<PublicKey> = (0..3).map(|_| PrivateKey::generate().public()).collect();
    for key in &keys {
        let file = key.save_in(&dir).unwrap();
        assert_eq!(
            file.file_stem().unwrap().to_str().unwrap(),
            key.id().to_string()
        );
    }
    fs::write(dir.join("README"), "not a key").unwrap();
    assert_eq!(Keyring::load(&dir).unwrap(), Keyring::from_iter(keys));

    fs::write(dir.join("broken.pem"), "not a key").unwrap();
    let error = Keyring::load(&dir).unwrap_err();
    assert!(
        matches!(&error, Error::BadKey { path, .. } if path.ends_with("broken.pem")),
        "{error}"
    );
}

#[test]
fn a_private_key_does_not_show_itself() {
    let key = PrivateKey::generate();
    assert_eq!(
        format!("{key:?}"),
        format!("PrivateKey({})", key.public().id())
    );
}
