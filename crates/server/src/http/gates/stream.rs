//! Server-sent events, with what their reader may not see left out.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::Value;

use super::{
    Shape,
    reveal::{Eyes, Seen},
};

/// Shows of each event what is to be seen; what is not JSON, such as a comment, stays as it is, and an
/// event of which nothing is to be seen leaves its id, so that a reader who comes back goes on after it.
pub(super) fn reveal(eyes: Eyes, shape: Shape, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let state = (eyes, body.into_data_stream(), Blocks::default());
    let shown = stream::unfold(state, move |(eyes, mut body, mut blocks)| async move {
        loop {
            if let Some(block) = blocks.next() {
                let shown = show(&eyes, shape, &block).await;
                return Some((Ok(Bytes::from(shown)), (eyes, body, blocks)));
            }
            match body.next().await? {
                Ok(bytes) => blocks.0.extend_from_slice(&bytes),
                Err(error) => return Some((Err(error), (eyes, body, blocks))),
            }
        }
    });
    Response::from_parts(parts, Body::from_stream(shown))
}

/// Bytes that came and are not yet looked at.
#[derive(Default)]
struct Blocks(Vec<u8>);

impl Blocks {
    /// The next event or comment, with the empty line that ends it.
    fn next(&mut self) -> Option<String> {
        let end = self.0.windows(2).position(|pair| pair == b"\n\n")? + 2;
        let block: Vec<u8> = self.0.drain(..end).collect();
        Some(String::from_utf8_lossy(&block).into_owned())
    }
}

async fn show(eyes: &Eyes, shape: Shape, block: &str) -> String {
    let data: Vec<&str> = block
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    if data.is_empty() {
        return block.to_owned();
    }
    // One that has the resource's name in it is nobody's who does not see the resource.
    let kept = block
        .lines()
        .filter(|line| line.starts_with("id:") && !line.contains('@'));
    let nothing = kept.map(|line| format!("{line}\n")).collect::<String>();
    let nothing = if nothing.is_empty() {
        ":\n\n".to_owned()
    } else {
        nothing + "\n"
    };
    let Ok(mut value) = serde_json::from_str::<Value>(&data.join("\n")) else {
        return nothing;
    };
    // A bookmark tells where the reader is, and of no resource.
    let of_nothing = value.get("kind").is_none() && value.get("subject").is_none();
    match eyes.show(shape, &mut value, None).await {
        _ if of_nothing => block.to_owned(),
        Ok(Seen::Part | Seen::Whole) => {
            let others = block.lines().filter(|line| !line.starts_with("data:"));
            let others: String = others
                .filter(|line| !line.is_empty())
                .map(|line| format!("{line}\n"))
                .collect();
            format!("{others}data: {value}\n\n")
        }
        Ok(Seen::Nothing) => nothing,
        Err(error) => {
            tracing::warn!(%error, "an event could not be looked through, and is left out");
            nothing
        }
    }
}
