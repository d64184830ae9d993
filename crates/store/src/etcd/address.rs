//! The URL of a cluster: `etcd://HOST:PORT[,HOST:PORT…][?OPTION=VALUE&…]`.

use std::{fmt, fs, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// Where keys are put when the URL names no other prefix.
const PREFIX: &str = "wright/";
/// How long a TCP and TLS connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// What a member may send ahead on one stream, in bytes. A watch that is not read stops there.
const STREAM_WINDOW: u32 = 256 << 10;
/// What a member may send ahead on all streams, in bytes: so much that thousands of watches that are
/// not read leave room for answers.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// What the etcd URL looks like.
const FORM: &str = "`etcd://HOST:PORT,HOST:PORT?OPTION=VALUE&…` was expected";

/// A user of the cluster.
#[derive(Clone)]
pub(super) struct User {
    pub name: String,
    pub password: String,
}

impl fmt::Debug for User {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("User").field(&self.name).finish()
    }
}

/// A URL, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// The members that may be asked, at least one.
    pub endpoints: Vec<Endpoint>,
    /// All keys begin with this.
    pub prefix: String,
    /// Who asks, where the cluster wants to know.
    pub user: Option<User>,
}

/// The options of a URL.
#[derive(Default)]
struct Options<'a> {
    prefix: Option<&'a str>,
    ca: Option<&'a str>,
    cert: Option<&'a str>,
    key: Option<&'a str>,
    user: Option<&'a str>,
    password_file: Option<&'a str>,
}

impl Address {
    /// Takes a URL apart and reads the files that it names; the error is what would do instead.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("etcd://").ok_or(FORM)?;
        let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
        let options = Options::parse(query)?;
        let tls = options.tls()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoints = hosts.trim_end_matches('/').split(',');
        let endpoints = endpoints.map(|host| endpoint(scheme, host, tls.clone()));
        Ok(Address {
            endpoints: endpoints.collect::<Result<_, _>>()?,
            prefix: options.prefix.unwrap_or(PREFIX).to_owned(),
            user: options.user()?,
        })
    }
}

impl<'a> Options<'a> {
    fn parse(query: &'a str) -> Result<Self, String> {
        let mut options = Options::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option
                .split_once('=')
                .filter(|(_, value)| !value.is_empty())
                .ok_or_else(|| format!("the option `{option}` has no value"))?;
            let place = match name {
                "prefix" => &mut options.prefix,
                "ca" => &mut options.ca,
                "cert" => &mut options.cert,
                "key" => &mut options.key,
                "user" => &mut options.user,
                "password-file" => &mut options.password_file,
                _ => {
                    return Err(format!(
                        "there is no option `{name}`; there are prefix, ca, cert, key, user and password-file"
                    ));
                }
            };
            *place = Some(value);
        }
        Ok(options)
    }

    fn tls(&self) -> Result<Option<ClientTlsConfig>, String> {
        let tls = match (self.ca, self.cert, self.key) {
            (None, None, None) => return Ok(None),
            (None, _, _) => {
                return Err("`cert` and `key` need `ca`, the authority's certificate".to_owned());
            }
            (Some(ca), cert, key) => {
                let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
                match (cert, key) {
                    (None, None) => tls,
                    (Some(cert), Some(key)) => {
                        tls.identity(Identity::from_pem(read(cert)?, read(key)?))
                    }
                    _ => return Err("`cert` and `key` are given together".to_owned()),
                }
            }
        };
        Ok(Some(tls))
    }

    fn user(&self) -> Result<Option<User>, String> {
        match (self.user, self.password_file) {
            (None, None) => Ok(None),
            (Some(name), Some(file)) => Ok(Some(User {
                name: name.to_owned(),
                password: read(file)?.trim_end_matches(['\r', '\n']).to_owned(),
            })),
            _ => Err("`user` and `password-file` are given together".to_owned()),
        }
    }
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))
}

fn endpoint(scheme: &str, host: &str, tls: Option<ClientTlsConfig>) -> Result<Endpoint, String> {
    let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) {
        return Err(format!("{host:?} is not HOST:PORT; {FORM}"));
    }
    let wrong = |error: tonic::transport::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{host}: {}", cause.unwrap_or_else(|| error.to_string()))
    };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{host}"))
        .map_err(wrong)?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    match tls {
        Some(tls) => endpoint.tls_config(tls).map_err(wrong),
        None => Ok(endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match Address::parse(url) {
            Ok(_) => format!("{url} was taken"),
            Err(reason) => reason,
        }
    }

    #[test]
    fn a_url_names_members_and_a_prefix() {
        let address = Address::parse("etcd://a:2379,[::1]:2379?prefix=north/").unwrap();
        let hosts: Vec<String> = address
            .endpoints
            .iter()
            .map(|endpoint| endpoint.uri().to_string())
            .collect();
        assert_eq!(hosts, ["http://a:2379/", "http://[::1]:2379/"]);
        assert_eq!(address.prefix, "north/");
        assert_eq!(Address::parse("etcd://a:2379").unwrap().prefix, "wright/");
    }

    #[test]
    fn a_url_that_cannot_be_meant_is_refused_with_what_would_do() {
        for (url, hint) in [
            ("etcd:a:2379", "was expected"),
            ("etcd://", "HOST:PORT"),
            ("etcd://a", "HOST:PORT"),
            ("etcd://a:2379,", "HOST:PORT"),
            ("etcd://a:2379?prefix", "no value"),
            ("etcd://a:2379?password=x", "password-file"),
            ("etcd://a:2379?user=x", "together"),
            ("etcd://a:2379?cert=x&key=y", "need `ca`"),
            (
                "etcd://a:2379?ca=/none/ca.pem",
                "/none/ca.pem: No such file",
            ),
        ] {
            assert!(refused(url).contains(hint), "{url}: {}", refused(url));
        }
    }
}
