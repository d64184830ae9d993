//! Accounts in PostgreSQL, sessions in Redis. Passwords are kept as Argon2id keys.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use shop::app::{self, App};
use shop::config::{Config, Primary, Redis};
use shop::database::Database;
use shop::failure::Failure;
use shop::kv::Kv;
use shop::nouns::{Account, Session};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS \"user\".accounts (
    id text PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL,
    salt bytea NOT NULL, password bytea NOT NULL, since timestamptz NOT NULL DEFAULT now());";

/// 7 MiB, five passes: the second of the OWASP recommendations, which keeps the app small.
const MEMORY_KIB: u32 = 7168;
const PASSES: u32 = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    listen: SocketAddr,
    #[serde(rename = "lookup")]
    _lookup: String,
    postgres: Primary,
    redis: Redis,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Parameters {
    session_hours: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { session_hours: 24 }
    }
}

impl Config for Settings {
    fn listen(&self) -> SocketAddr {
        self.listen
    }
}

#[derive(Clone)]
struct Users {
    database: Database,
    kv: Kv,
    deriver: Deriver,
    session_seconds: u64,
}

fn main() -> ExitCode {
    app::main(async |settings: Settings| {
        let database = Database::open("postgres.primary", &settings.postgres.primary)?;
        let kv = Kv::open(&settings.redis)?;
        let session_seconds = u64::from(settings.parameters.session_hours.max(1)) * 3600;
        let router = Router::new()
            .route("/users", post(sign_up))
            .route("/users/{email}", get(show))
            .route("/sessions", post(sign_in))
            .route("/sessions/{token}", get(session).delete(sign_out))
            .with_state(Users {
                database: database.clone(),
                kv: kv.clone(),
                deriver: Deriver::default(),
                session_seconds,
            });
        let prepared = database.clone();
        Ok(App::new(settings.listen, router)
            .postgres(&database)
            .redis(&kv)
            .setup(move || {
                let database = prepared.clone();
                async move { database.prepare("user", SCHEMA).await }
            }))
    })
}

/// Derives keys, one at a time in the same memory: the app stays as small as one derivation is.
#[derive(Clone, Default)]
struct Deriver {
    memory: Arc<Mutex<Vec<Block>>>,
}

impl Deriver {
    /// Slow by design, so not on the thread that serves.
    async fn derive(&self, password: String, salt: [u8; 16]) -> Result<Vec<u8>, Failure> {
        let memory = self.memory.clone();
        let derive = move || {
            let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32))?;
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.resize(params.block_count(), Block::default());
            let mut key = [0; 32];
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into_with_memory(
                    password.as_bytes(),
                    &salt,
                    &mut key,
                    memory.as_mut_slice(),
                )?;
            Ok::<_, argon2::Error>(key.to_vec())
        };
        tokio::task::spawn_blocking(derive)
            .await
            .map_err(|error| Failure::Internal(error.to_string()))?
            .map_err(|error| Failure::Internal(error.to_string()))
    }
}

fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignUp {
    name: String,
    email: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    email: String,
    password: String,
}

fn checked(request: SignUp) -> Result<SignUp, Failure> {
    let email = request.email.trim().to_lowercase();
    let name = request.name.trim().to_owned();
    let wrong = |what: &str| Err(Failure::Invalid(what.into()));
    if name.is_empty() || name.chars().count() > 80 {
        return wrong("Please tell us your name, in at most 80 letters.");
    }
    let plausible = email
        .split_once('@')
        .is_some_and(|(who, host)| !who.is_empty() && host.contains('.'));
    if !plausible || email.len() > 200 || email.contains(char::is_whitespace) {
        return wrong("That does not look like an e-mail address.");
    }
    if !(8..=200).contains(&request.password.len()) {
        return wrong("The password needs at least 8 characters.");
    }
    Ok(SignUp {
        name,
        email,
        ..request
    })
}

impl Users {
    async fn verified(&self, email: &str, password: String) -> Result<Option<Account>, Failure> {
        let statement = "SELECT id, name, salt, password FROM \"user\".accounts WHERE email = $1";
        let row = self
            .database
            .client()
            .await?
            .query_opt(statement, &[&email])
            .await?;
        // Without an account the work is done all the same: the time taken tells nothing.
        let salt = row
            .as_ref()
            .and_then(|row| row.get::<_, &[u8]>(2).try_into().ok())
            .unwrap_or_default();
        let key = self.deriver.derive(password, salt).await?;
        Ok(row.filter(|row| same(row.get(3), &key)).map(|row| Account {
            id: row.get(0),
            name: row.get(1),
            email: email.to_owned(),
        }))
    }
}

/// Asked twice with the same password it gives the same account, so it may be repeated.
async fn sign_up(
    State(users): State<Users>,
    Json(request): Json<SignUp>,
) -> Result<Json<Account>, Failure> {
    let SignUp {
        name,
        email,
        password,
    } = checked(request)?;
    let (id, salt) = (uuid::Uuid::now_v7().to_string(), rand::random::<[u8; 16]>());
    let key = users.deriver.derive(password.clone(), salt).await?;
    let insert = "INSERT INTO \"user\".accounts (id, email, name, salt, password) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";
    let inserted = users
        .database
        .client()
        .await?
        .execute(insert, &[&id, &email, &name, &salt.as_slice(), &key])
        .await?;
    if inserted == 1 {
        return Ok(Json(Account { id, name, email }));
    }
    let taken = || {
        Failure::Conflict("There is an account with this address already. Please sign in.".into())
    };
    users
        .verified(&email, password)
        .await?
        .map(Json)
        .ok_or_else(taken)
}

async fn sign_in(
    State(users): State<Users>,
    Json(request): Json<SignIn>,
) -> Result<Json<Session>, Failure> {
    let email = request.email.trim().to_lowercase();
    let account = users
        .verified(&email, request.password)
        .await?
        .ok_or_else(|| Failure::Unknown("Address and password do not match.".into()))?;
    let token: String = rand::random::<[u8; 24]>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let text = serde_json::to_string(&account)?;
    let mut command = redis::cmd("SET");
    command
        .arg(format!("session:{token}"))
        .arg(text)
        .arg("EX")
        .arg(users.session_seconds);
    let () = users.kv.repeat(&command).await?;
    Ok(Json(Session { token, account }))
}

async fn session(
    State(users): State<Users>,
    Path(token): Path<String>,
) -> Result<Json<Account>, Failure> {
    let text: Option<String> = users
        .kv
        .repeat(redis::cmd("GET").arg(format!("session:{token}")))
        .await?;
    let text = text.ok_or_else(|| Failure::NotFound("no such session".into()))?;
    Ok(Json(serde_json::from_str(&text)?))
}

async fn sign_out(
    State(users): State<Users>,
    Path(token): Path<String>,
) -> Result<Json<()>, Failure> {
    let () = users
        .kv
        .repeat(redis::cmd("DEL").arg(format!("session:{token}")))
        .await?;
    Ok(Json(()))
}

async fn show(
    State(users): State<Users>,
    Path(email): Path<String>,
) -> Result<Json<Account>, Failure> {
    let statement = "SELECT id, name, email FROM \"user\".accounts WHERE email = $1";
    let row = users
        .database
        .client()
        .await?
        .query_opt(statement, &[&email.to_lowercase()])
        .await?;
    row.map(|row| {
        Json(Account {
            id: row.get(0),
            name: row.get(1),
            email: row.get(2),
        })
    })
    .ok_or_else(|| Failure::NotFound(format!("no account of {email}")))
}
