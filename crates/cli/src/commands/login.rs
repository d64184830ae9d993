//! `wright login`, `logout`, `whoami` and `can`.

use std::path::Path;

use wright_server::api::{Can, ClientContext, Login, Session, WhoAmI};

use super::{Context, loopback};
use crate::{
    args::{CanArgs, Format, LoginArgs},
    client::Client,
    failure::Failure,
    output,
};

/// Asks for a line that is not shown while it is typed; without a terminal, reads one.
pub fn secret(question: &str) -> Result<String, Failure> {
    use std::io::{IsTerminal as _, Write as _};
    if std::io::stdin().is_terminal() {
        eprint!("{question}: ");
        std::io::stderr().flush()?;
        return Ok(console::Term::stderr().read_secure_line()?);
    }
    line()
}

fn line() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Shows the server who this is; what it gives for that is kept in session.json of the data directory.
pub async fn login(data: &Path, login: LoginArgs) -> Result<(), Failure> {
    let context = match (login.server, &login.ca) {
        (Some(url), Some(ca)) => ClientContext {
            url,
            others: Vec::new(),
            token: String::new(),
            ca: std::fs::read_to_string(ca)
                .map_err(|error| Failure::usage(format!("{}: {error}", ca.display())))?,
        },
        _ => Client::context(data)?,
    };
    let client = Client::new(context.clone())?;
    let session: Session = match login.oidc {
        true => loopback::login(&client, login.provider).await?,
        false => {
            let user = match login.user {
                Some(user) => user,
                None => {
                    eprint!("user: ");
                    line()?
                }
            };
            let password = secret("password")?;
            client.post("/login", &Login { user, password }).await?
        }
    };
    let text = format!(
        "logged in as {} until {:.0}",
        session.user, session.expires_at
    );
    let context = ClientContext {
        token: session.token,
        ..context
    };
    Client::keep_session(data, &context)?;
    output::say(&text);
    Ok(())
}

/// Ends the session.
pub async fn logout(data: &Path) -> Result<(), Failure> {
    let Some(context) = Client::session(data)? else {
        return Err(Failure::failed("nobody is logged in here"));
    };
    let client = Client::new(context)?;
    let ended = client
        .done(http::Method::POST, "/logout", None::<&()>)
        .await;
    // Where the server no longer knows it, it has ended all the same.
    Client::forget_session(data)?;
    match ended {
        Err(failure) if failure.is_unreachable() => Err(failure),
        _ => {
            output::say("logged out");
            Ok(())
        }
    }
}

/// Who the server takes this for.
pub async fn whoami(context: Context) -> Result<(), Failure> {
    let me: WhoAmI = context.client.get("/whoami").await?;
    output::print(context.format, &me, |me| {
        let mut lines = vec![format!("{} (by {})", me.name, me.through)];
        if let Some(end) = me.expires_at {
            lines.push(format!("until    {end:.0}"));
        }
        let joined = |names: &std::collections::BTreeSet<String>| {
            names
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        };
        if !me.teams.is_empty() {
            lines.push(format!("teams    {}", joined(&me.teams)));
        }
        for held in &me.roles {
            let of = held
                .teams
                .as_ref()
                .map(|teams| format!(" for team {}", joined(teams)));
            lines.push(format!("role     {}{}", held.role, of.unwrap_or_default()));
        }
        if !me.kinds.is_empty() {
            lines.push(format!("kinds    {}", joined(&me.kinds)));
        }
        lines.join("\n")
    })
}

/// Whether the caller may do something; fails where not, so that scripts can ask.
pub async fn can(context: Context, can: CanArgs) -> Result<(), Failure> {
    let mut path = format!("/can?act={}&kind={}", can.act, can.kind);
    if let Some(name) = &can.name {
        path.push_str(&format!("&name={}", super::encoded(name)));
    }
    let answer: Can = context.client.get(&path).await?;
    match (answer.allowed, context.format) {
        (false, Format::Table) => Err(Failure::failed(answer.why)),
        _ => output::print(context.format, &answer, |answer| answer.why.clone()),
    }
}
