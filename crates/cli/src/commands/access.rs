//! `wright token`, `wright user` and `wright audit`.

use http::Method;
use jiff::Timestamp;
use wright_access::{AuditRecord, Issued, NewToken, Outcome, TokenRecord};
use wright_inventory::Resource;
use wright_server::api::{NewUser, PasswordChange, UserChange, UserView};

use super::{Context, encoded, login::secret};
use crate::{
    args::{AuditArgs, TokenArgs, TokenCommand, UserCommand},
    failure::Failure,
    output,
};

/// `wright token …`
pub async fn token(context: Context, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(wanted) => {
            let new = new_token(wanted)?;
            let issued: Issued = context.client.post("/tokens", &new).await?;
            output::print(context.format, &issued, |issued| issued.token.clone())
        }
        TokenCommand::List => {
            let tokens: Vec<TokenRecord> = context.client.get("/tokens").await?;
            output::print(context.format, &tokens, |tokens| {
                let head = ["ID", "NAME", "OF", "ROLES", "ONLY", "EXPIRES", "USED"];
                output::table(head, tokens.iter().map(row))
            })
        }
        TokenCommand::Revoke { token } => {
            let path = format!("/tokens/{}", encoded(&token));
            context
                .client
                .done(Method::DELETE, &path, None::<&()>)
                .await?;
            output::say(&format!("{token} is worth nothing from now on"));
            Ok(())
        }
    }
}

fn new_token(wanted: TokenArgs) -> Result<NewToken, Failure> {
    let after = |span: wright_model::Span| {
        let span = jiff::SignedDuration::try_from(span.duration());
        let end = span
            .ok()
            .and_then(|span| Timestamp::now().checked_add(span).ok());
        end.ok_or_else(|| Failure::usage("--expires: that is longer than time goes"))
    };
    let texts =
        |names: Vec<wright_model::Name>| names.into_iter().map(|name| name.to_string()).collect();
    Ok(NewToken {
        name: wanted.name,
        user: wanted.user,
        roles: wanted.role.into_iter().collect(),
        kinds: texts(wanted.kind),
        teams: texts(wanted.team),
        expires_at: wanted.expires.map(after).transpose()?,
    })
}

fn row(token: &TokenRecord) -> [String; 7] {
    let joined = |names: &std::collections::BTreeSet<String>| {
        names
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(",")
    };
    let only = [&token.kinds, &token.teams].map(joined);
    let expires = token
        .expires_at
        .map_or("never".to_owned(), |end| format!("{end:.0}"));
    let used = token.last_used.map_or("never".to_owned(), output::age);
    [
        token.id.clone(),
        token.name.clone(),
        token.user.clone().unwrap_or_default(),
        joined(&token.roles),
        only.iter()
            .filter(|part| !part.is_empty())
            .cloned()
            .collect::<Vec<_>>()
            .join(" "),
        expires,
        used,
    ]
}

/// `wright user …`
pub async fn user(context: Context, command: UserCommand) -> Result<(), Failure> {
    let switch = |name: &str, disabled| {
        let change = UserChange {
            disabled: Some(disabled),
            ..UserChange::default()
        };
        (format!("/users/{}", encoded(name)), change)
    };
    let (path, change) = match command {
        UserCommand::Create {
            name,
            full_name,
            email,
            password,
        } => {
            let password = password.then(|| secret("password")).transpose()?;
            let new = NewUser {
                name,
                full_name,
                email,
                password,
            };
            let user: UserView = context.client.post("/users", &new).await?;
            return shown(&context, &user);
        }
        UserCommand::List => {
            let users: Vec<Resource> = context.client.get("/resources/user").await?;
            return output::print(context.format, &users, |users| {
                let text = |user: &Resource, field: &str| {
                    user.body[field].as_str().unwrap_or_default().to_owned()
                };
                let rows = users.iter().map(|user| {
                    let state = match user.body["disabled"].as_bool() {
                        Some(true) => "disabled",
                        _ => "",
                    };
                    let [full_name, email] = ["full-name", "email"].map(|field| text(user, field));
                    [user.name.clone(), full_name, email, state.to_owned()]
                });
                output::table(["USER", "NAME", "EMAIL", "STATE"], rows)
            });
        }
        UserCommand::Password { name } => {
            let current = secret("present password (empty for who administers users)")?;
            let change = PasswordChange {
                current: Some(current).filter(|current| !current.is_empty()),
                new: secret("new password")?,
            };
            let path = format!("/users/{}/password", encoded(&name));
            context
                .client
                .done(Method::PUT, &path, Some(&change))
                .await?;
            output::say(&format!("{name} has a new password"));
            return Ok(());
        }
        UserCommand::Disable { name } => switch(&name, true),
        UserCommand::Enable { name } => switch(&name, false),
    };
    let user: UserView = context.client.put(&path, &change).await?;
    shown(&context, &user)
}

fn shown(context: &Context, user: &UserView) -> Result<(), Failure> {
    output::print(context.format, user, |user| {
        let state = if user.disabled { " (disabled)" } else { "" };
        format!("user {}{state}", user.name)
    })
}

/// `wright audit`
pub async fn audit(context: Context, wanted: AuditArgs) -> Result<(), Failure> {
    let mut path = format!("/audit?limit={}", wanted.lines);
    let outcome = wanted.outcome.map(Outcome::as_str).map(str::to_owned);
    for (name, value) in [
        ("actor", wanted.actor),
        ("kind", wanted.kind),
        ("name", wanted.name),
        ("act", wanted.act.map(|act| act.to_string())),
        ("outcome", outcome),
        ("since", wanted.since.map(|at| at.to_string())),
        ("until", wanted.until.map(|at| at.to_string())),
    ] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(&value)));
        }
    }
    let records: Vec<AuditRecord> = context.client.get(&path).await?;
    output::print(context.format, &records, |records| {
        let lines: Vec<String> = records.iter().map(audit_line).collect();
        lines.join("\n")
    })
}

fn audit_line(record: &AuditRecord) -> String {
    let what = match record.kind.as_str() {
        "" => record.request.clone(),
        kind => format!("{kind} {}", record.name),
    };
    let line = format!(
        "{:.3}  {:<8} {:<12} {:<11} {:<32} {}",
        record.at,
        record.outcome.as_str(),
        record.actor,
        record.act,
        what,
        record.why
    );
    line.trim_end().to_owned()
}
