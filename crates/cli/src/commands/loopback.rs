//! `wright login --oidc`: the browser comes back to a port of this machine (RFC 8252, 7.3).

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use wright_model::Name;
use wright_server::api::{LoginBack, LoginBegun, LoginThrough, Session};

use crate::{client::Client, failure::Failure, output};

/// How long somebody may take in the browser.
const WITHIN: Duration = Duration::from_secs(600);
/// The longest request line that is read, bytes.
const MAX_LINE: u64 = 16 << 10;
const DONE: &str = "You are logged in. This page can be closed.";
const NOT_DONE: &str = "This is not what wright waits for.";

/// Shows where to log in, waits until that is done, and tells the server.
pub async fn login(client: &Client, provider: Option<Name>) -> Result<Session, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let wanted = LoginThrough {
        provider: provider.map(|name| name.to_string()),
        redirect: format!("http://{}/back", listener.local_addr()?),
    };
    let begun: LoginBegun = client.post("/login/oidc", &wanted).await?;
    output::say(&format!(
        "open in a browser on this machine:\n  {}",
        begun.url
    ));
    let back = tokio::time::timeout(WITHIN, wait(&listener, &begun.state)).await;
    let back = back.map_err(|_| Failure::failed("nobody logged in within ten minutes"))??;
    client.post("/login/oidc/back", &back).await
}

/// Answers whatever comes until it is the browser with this login's state.
async fn wait(listener: &TcpListener, state: &str) -> Result<LoginBack, Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        let mut stream = BufReader::new(stream);
        let Some(target) = target(&mut stream).await else {
            continue;
        };
        let param = |name: &str| {
            let query = target.split_once('?').map_or("", |(_, query)| query);
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let found = pairs.find(|(key, _)| *key == name);
            found.map(|(_, value)| decoded(value))
        };
        if param("state").as_deref() != Some(state) {
            answer(stream.into_inner(), "404 Not Found", NOT_DONE).await;
            continue;
        }
        if let Some(code) = param("code") {
            answer(stream.into_inner(), "200 OK", DONE).await;
            let state = state.to_owned();
            return Ok(LoginBack { state, code });
        }
        let why = param("error_description")
            .or(param("error"))
            .unwrap_or_default();
        answer(stream.into_inner(), "200 OK", "You are not logged in.").await;
        return Err(Failure::failed(format!(
            "the identity provider refused: {why}"
        )));
    }
}

/// The target of a request (RFC 9112, 3).
async fn target(stream: &mut BufReader<TcpStream>) -> Option<String> {
    use tokio::io::AsyncReadExt as _;
    let mut line = String::new();
    stream.take(MAX_LINE).read_line(&mut line).await.ok()?;
    let target = line.strip_prefix("GET ")?.split(' ').next()?;
    Some(target.to_owned())
}

async fn answer(mut stream: TcpStream, status: &str, text: &str) {
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    // Whether the page is seen does not matter.
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A field of a form as text (WHATWG URL, 5.1).
fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_is_read_back() {
        for (text, read) in [
            ("a%2Fb+c", "a/b c"),
            ("%C3%A9", "é"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("", ""),
        ] {
            assert_eq!(decoded(text), read);
        }
    }

    #[tokio::test]
    async fn only_the_login_that_was_begun_is_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = tokio::spawn(async move { wait(&listener, "mine").await });
        for target in [
            "/favicon.ico",
            "/back?state=other&code=1",
            "/back?state=mine&code=a%2Fb",
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer).await.unwrap();
        }
        let back = waiting.await.unwrap().unwrap();
        assert_eq!(back.code, "a/b");
    }
}
