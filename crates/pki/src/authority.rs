use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use wright_model::Name;

use crate::{Identity, PkiError, identity};

/// The name by which agents know their server, whatever its address: every server certificate is
/// for it.
pub const SERVER_NAME: &str = "wright-server";

/// The common name of what a server shows to another server. No host's: a host's name has no dot.
pub(crate) const PEER_NAME: &str = "server.wright";

const AUTHORITY_YEARS: i32 = 20;
const LEAF_YEARS: i32 = 2;

/// The installation's certificate authority.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Loads the authority kept in a directory, or makes one there: `ca.pem` and `ca.key`.
    ///
    /// # Errors
    /// Where the files cannot be read or written, or are not an authority's.
    pub fn open(directory: &Path) -> Result<Self, PkiError> {
        let (certificate, key) = paths(directory);
        match (certificate.exists(), key.exists()) {
            (true, true) => Self::load(directory),
            // The key is written first: alone, it has issued nothing.
            (false, _) => Self::create(directory),
            (true, false) => Err(PkiError::HalfAuthority {
                missing: key,
                present: certificate,
            }),
        }
    }

    /// Makes a new authority in a directory; what it had before is replaced.
    ///
    /// # Errors
    /// Where the files cannot be written.
    pub fn create(directory: &Path) -> Result<Self, PkiError> {
        let made = Self::generate()?;
        made.save(directory)?;
        Ok(made)
    }

    /// Makes a new authority that is kept nowhere yet.
    ///
    /// # Errors
    /// Where no key can be made.
    pub fn generate() -> Result<Self, PkiError> {
        let key = KeyPair::generate().map_err(PkiError::certificate("make the authority's key"))?;
        let mut params = params("Sitewright authority", AUTHORITY_YEARS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = params
            .self_signed(&key)
            .map_err(PkiError::certificate("make the authority's certificate"))?;
        Ok(Authority {
            certificate: made.pem(),
            key: key.serialize_pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Keeps it in a directory: `ca.pem` and, for its owner only, `ca.key`.
    ///
    /// # Errors
    /// Where the files cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), PkiError> {
        let (certificate_path, key_path) = paths(directory);
        identity::make_directory(directory)?;
        identity::write(&key_path, &self.key, 0o600)?;
        identity::write(&certificate_path, &self.certificate, 0o644)
    }

    /// Loads the authority kept in a directory.
    ///
    /// # Errors
    /// Where the files cannot be read or are not an authority's.
    pub fn load(directory: &Path) -> Result<Self, PkiError> {
        let (certificate_path, key_path) = paths(directory);
        let read = |path: &Path| fs::read_to_string(path).map_err(PkiError::io("read", path));
        Self::from_pem(read(&certificate_path)?, read(&key_path)?)
    }

    /// An authority of which certificate and key, both PEM, are kept elsewhere.
    ///
    /// # Errors
    /// Where they are not an authority's.
    pub fn from_pem(certificate: String, key: String) -> Result<Self, PkiError> {
        let pair =
            KeyPair::from_pem(&key).map_err(PkiError::certificate("use the authority's key"))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, pair)
            .map_err(PkiError::certificate("use the authority's certificate"))?;
        Ok(Authority {
            certificate,
            key,
            issuer,
        })
    }

    /// The authority's certificate, PEM: what servers and agents trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The authority's key, PEM: to be kept as a secret.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// An identity that a server shows when it calls another server. Valid from yesterday for two
    /// years.
    ///
    /// # Errors
    /// Where no key can be made.
    pub fn issue_peer(&self) -> Result<Identity, PkiError> {
        self.issue(
            params(PEER_NAME, LEAF_YEARS),
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    /// An identity for a server that is reached by [`SERVER_NAME`] and these names and addresses.
    /// Valid from yesterday for two years.
    ///
    /// # Errors
    /// Where a name cannot stand in a certificate.
    pub fn issue_server(
        &self,
        names: &[String],
        addresses: &[IpAddr],
    ) -> Result<Identity, PkiError> {
        let mut params = params(SERVER_NAME, LEAF_YEARS);
        let own = SERVER_NAME.to_owned();
        for name in std::iter::once(&own).chain(names.iter().filter(|name| **name != own)) {
            params.subject_alt_names.push(dns(name)?);
        }
        params
            .subject_alt_names
            .extend(addresses.iter().copied().map(SanType::IpAddress));
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// An identity for the agent of a host: common name `{host}`, alternative name
    /// `{host}.agents.wright`. Valid from yesterday for two years.
    ///
    /// # Errors
    /// Where no key can be made.
    pub fn issue_agent(&self, host: &Name) -> Result<Identity, PkiError> {
        let mut params = params(host.as_str(), LEAF_YEARS);
        params
            .subject_alt_names
            .push(dns(&format!("{host}.agents.wright"))?);
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, PkiError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(PkiError::certificate("make a key"))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(PkiError::certificate("issue a certificate"))?;
        Ok(Identity {
            ca: self.certificate.clone(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn paths(directory: &Path) -> (PathBuf, PathBuf) {
    (directory.join("ca.pem"), directory.join("ca.key"))
}

fn dns(name: &str) -> Result<SanType, PkiError> {
    let name = name
        .try_into()
        .map_err(PkiError::certificate("put a name in a certificate"))?;
    Ok(SanType::DnsName(name))
}

/// Valid from yesterday on: clocks of hosts differ.
fn params(common_name: &str, years: i32) -> CertificateParams {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let (from, until) = (
        today.saturating_sub(1.day()),
        today.saturating_add(years.years()),
    );
    let [from, until] = [from, until].map(|day: Date| {
        let (month, day_of_month) = (day.month().unsigned_abs(), day.day().unsigned_abs());
        rcgen::date_time_ymd(day.year().into(), month, day_of_month)
    });
    (params.not_before, params.not_after) = (from, until);
    params
}
