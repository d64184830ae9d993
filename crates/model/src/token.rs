//! Tokens that stand in a rendered file for what may not be in a plan, or is not known yet.
//!
//! A plan renders every template, so that executing it needs no choice. Two sorts of value must
//! not be in it: secrets, and paths that only the agent knows. A template that asks for one gets a
//! token; the server replaces secret tokens when it hands a file to an agent, the agent replaces
//! path tokens when it writes the file. People cannot write tokens: a template, parameter or value
//! that contains [`MARK`] is refused when the site is planned.

use crate::Name;

/// What every token begins with.
pub const MARK: &str = "@wright{";

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Token {
    /// The secret `name` of app `app` of the same site.
    Secret {
        /// The app whose baseline asks for the secret.
        app: Name,
        /// The secret's name in that baseline.
        name: Name,
    },
    /// A directory of the instance: `package`, `etc`, `data`, `run`, `log` or `home`.
    Path(String),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Secret { app, name } => write!(f, "{MARK}secret:{app}/{name}}}"),
            Token::Path(path) => write!(f, "{MARK}path:{path}}}"),
        }
    }
}

fn parse(inner: &str) -> Option<Token> {
    if let Some(path) = inner.strip_prefix("path:") {
        return Some(Token::Path(path.to_owned()));
    }
    let (app, name) = inner.strip_prefix("secret:")?.split_once('/')?;
    Some(Token::Secret {
        app: app.parse().ok()?,
        name: name.parse().ok()?,
    })
}

/// Replaces every token for which `value` has an answer; others stay as they are.
///
/// # Errors
/// The first error of `value`.
pub fn replace<E>(
    text: &str,
    mut value: impl FnMut(&Token) -> Result<Option<String>, E>,
) -> Result<String, E> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(MARK) {
        let tail = &rest[start..];
        let Some(end) = tail.find('}') else { break };
        out.push_str(&rest[..start]);
        let token = &tail[..=end];
        let replaced = match parse(&token[MARK.len()..end]) {
            Some(token) => value(&token)?,
            None => None,
        };
        out.push_str(replaced.as_deref().unwrap_or(token));
        rest = &tail[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Every token in a text, in order.
pub fn find(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let _ = replace(text, |token| {
        found.push(token.clone());
        Ok::<_, std::convert::Infallible>(None)
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_and_replaced() {
        let secret = Token::Secret {
            app: "db".parse().unwrap(),
            name: "password".parse().unwrap(),
        };
        let text = format!(
            "a={secret} b={} c=@wright{{what",
            Token::Path("data".into())
        );
        assert_eq!(find(&text).len(), 2);
        let replaced = replace(&text, |token| {
            Ok::<_, std::convert::Infallible>((*token == secret).then(|| "s3".to_owned()))
        });
        assert_eq!(
            replaced.unwrap(),
            "a=s3 b=@wright{path:data} c=@wright{what"
        );
    }
}
