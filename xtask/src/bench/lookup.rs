//! What the peers' sites lack: route lookups at every host's address, answered from a table that
//! never changes, and a server that hands out the packages.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};
use wright_route::Table;

use crate::Result;

/// Where agents answer route lookups.
pub const LOOKUP_PORT: u16 = 7070;

/// What is answered.
struct Content {
    table: Table,
    /// Archives by name.
    archives: BTreeMap<String, Bytes>,
}

/// Answers until it is dropped.
pub struct Servers {
    /// Where the archives are: `http://…/NAME`.
    pub archives: String,
    _tasks: JoinSet<Infallible>,
}

impl Servers {
    /// Listens on the lookup port of every address, and on a free port for the archives.
    ///
    /// # Errors
    /// When an address is taken.
    pub async fn start(
        addresses: &[IpAddr],
        table: Table,
        archives: BTreeMap<String, Bytes>,
    ) -> Result<Self> {
        let content = Arc::new(Content { table, archives });
        let mut tasks = JoinSet::new();
        for address in addresses {
            let address = SocketAddr::new(*address, LOOKUP_PORT);
            let listener = TcpListener::bind(address)
                .await
                .map_err(|error| format!("{address}: {error}"))?;
            tasks.spawn(serve(listener, content.clone()));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let archives = format!("http://{}", listener.local_addr()?);
        tasks.spawn(serve(listener, content));
        Ok(Servers {
            archives,
            _tasks: tasks,
        })
    }
}

async fn serve(listener: TcpListener, content: Arc<Content>) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: it passes, and trying at once would only burn time.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let content = content.clone();
        connections.spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let response = content.answer(request.uri().path());
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            // A caller that goes away is no event.
            let _ = connection
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Content {
    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let found = match path.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
            ["v1", "sites", site, "services", service] => {
                let answer = self.table.lookup(site, service);
                answer
                    .and_then(|answer| serde_json::to_vec(&answer).ok())
                    .map(|json| ("application/json", json.into()))
            }
            [archive] => self
                .archives
                .get(archive)
                .map(|bytes| ("application/zstd", bytes.clone())),
            _ => None,
        };
        let status = if found.is_some() {
            StatusCode::OK
        } else {
            StatusCode::NOT_FOUND
        };
        let (kind, body) = found.unwrap_or(("text/plain", Bytes::from_static(b"not here\n")));
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_and_services_are_found_and_nothing_else() {
        let table = br#"{ "revision": 1, "sites": { "shop": { "cart": [
            { "instance": "cart-1", "host": "h1", "address": "127.0.0.1", "ports": { "http": 80 } } ] } } }"#;
        let archives = BTreeMap::from([("cart".to_owned(), Bytes::from_static(b"archive"))]);
        let content = Content {
            table: Table::from_json(table).unwrap(),
            archives,
        };
        for (path, status) in [
            ("/v1/sites/shop/services/cart", 200),
            ("/cart", 200),
            ("/v1/sites/shop/services/order", 404),
            ("/order", 404),
            ("/", 404),
        ] {
            assert_eq!(content.answer(path).status(), status, "{path}");
        }
    }
}
