//! Conditions in CEL, as baselines have them, said in Jinja, as Ansible has them.

/// A CEL condition over `body` as a Jinja expression over `answer.json`.
///
/// # Errors
/// Where the condition has something that is not known here; what.
pub fn condition(cel: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = cel;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => quoted(rest)?,
            _ if is_word(first) => rest.find(|next| !is_word(next)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        let is_field = out.trim_end().ends_with('.');
        rest = match token {
            "size" if !is_field => {
                let (inner, behind) = argument(behind)?;
                out.push_str(&format!("({} | length)", condition(inner)?));
                behind
            }
            "body" if !is_field => {
                out.push_str("answer.json");
                behind
            }
            "&" | "|" => {
                let behind = behind
                    .strip_prefix(token)
                    .ok_or(format!("`{token}` in `{cel}`"))?;
                out.push_str(if token == "&" { "and" } else { "or" });
                behind
            }
            "!" if !behind.starts_with('=') => {
                out.push_str("not ");
                behind
            }
            _ if is_field && behind.trim_start().starts_with('(') => {
                return Err(format!("the method `{token}` in `{cel}`"));
            }
            _ => {
                out.push_str(token);
                behind
            }
        };
    }
    Ok(out)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// How long the quoted text is that a text begins with.
fn quoted(text: &str) -> Result<usize, String> {
    let quote = text.chars().next().unwrap_or('"');
    let inner = &text[1..];
    let end = inner
        .find(quote)
        .ok_or_else(|| format!("no end of {text}"))?;
    match inner[..end].contains('\\') {
        true => Err(format!("an escape in {text}")),
        false => Ok(end + 2),
    }
}

/// What is between the parentheses that a text begins with, and what is behind them.
fn argument(text: &str) -> Result<(&str, &str), String> {
    let inner = text
        .trim_start()
        .strip_prefix('(')
        .ok_or_else(|| format!("`(` was expected before {text}"))?;
    let mut open = 1;
    for (at, letter) in inner.char_indices() {
        match letter {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Ok((&inner[..at], &inner[at + 1..]));
        }
    }
    Err(format!("`)` was expected in {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_say_the_same_in_jinja() {
        for (cel, jinja) in [
            (
                "size(body) == 1 && body[0].price_cents > 0",
                "(answer.json | length) == 1 and answer.json[0].price_cents > 0",
            ),
            (
                "body.sku == 'body && size' || body.x != 2",
                "answer.json.sku == 'body && size' or answer.json.x != 2",
            ),
            ("body['limit-cents'] > 0", "answer.json['limit-cents'] > 0"),
            ("!body.ready", "not answer.json.ready"),
            (
                "size(body.size) > 0 && body.body",
                "(answer.json.size | length) > 0 and answer.json.body",
            ),
        ] {
            assert_eq!(condition(cel).unwrap(), jinja);
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for cel in [
            "body.all(x, x > 0)",
            "size body",
            "size(body",
            "'open",
            "a & b",
        ] {
            assert!(condition(cel).is_err(), "{cel}");
        }
    }
}
