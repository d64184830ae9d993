//! PostgreSQL, Redis and NATS of a site.

use super::{PASSWORD, Site, eventually};
use rustix::process::geteuid;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Debian's `nobody`: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

impl Site {
    pub(super) fn init_postgres(&self) -> impl Future<Output = ()> + use<> {
        let (data, secret) = (self.path("postgres"), self.path("postgres.password"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(&secret, PASSWORD).unwrap();
        if geteuid().is_root() {
            chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut command = postgres_command("initdb");
        command.args([
            "--username=shop",
            "--auth=scram-sha-256",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]);
        command
            .arg("--pgdata")
            .arg(&data)
            .arg("--pwfile")
            .arg(&secret);
        async move {
            let output = command.output().await.unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    pub async fn start_postgres(&mut self) {
        let mut command = postgres_command("postgres");
        command
            .arg("-D")
            .arg(self.path("postgres"))
            .args(["-p", "5432", "-k", ""]);
        command.args([
            "-c",
            &format!("listen_addresses={}", self.address),
            "-c",
            "fsync=off",
        ]);
        self.spawn("postgres", command);
        eventually("PostgreSQL accepts connections", async || {
            self.query("SELECT 1::bigint").await.is_some()
        })
        .await;
        if self
            .query("SELECT count(*) FROM pg_database WHERE datname = 'shop'")
            .await
            == Some(0)
        {
            let (client, connection) =
                tokio_postgres::connect(&self.postgres("postgres"), tokio_postgres::NoTls)
                    .await
                    .unwrap();
            let connection = tokio::spawn(connection);
            client.batch_execute("CREATE DATABASE shop").await.unwrap();
            connection.abort();
        }
    }

    pub fn start_redis(&mut self) {
        let mut command = Command::new(find("redis-server", &["/usr/bin"]));
        command.args([
            "--port",
            "6379",
            "--save",
            "",
            "--bind",
            &self.address,
            "--requirepass",
            PASSWORD,
        ]);
        command.current_dir(self.directory.path());
        self.spawn("redis", command);
    }

    pub fn start_nats(&mut self) {
        let mut command = Command::new(find("nats-server", &["/usr/sbin", "/usr/local/bin"]));
        command.args(["-a", &self.address, "-p", "4222", "--auth", PASSWORD]);
        self.spawn("nats", command);
    }

    pub(super) fn postgres(&self, database: &str) -> String {
        format!(
            "host={} port=5432 user=shop password={PASSWORD} dbname={database} connect_timeout=2",
            self.address
        )
    }

    /// The number a query gives; none when it cannot be asked.
    pub async fn query(&self, statement: &str) -> Option<i64> {
        for database in ["shop", "postgres"] {
            if let Ok((client, connection)) =
                tokio_postgres::connect(&self.postgres(database), tokio_postgres::NoTls).await
            {
                let connection = tokio::spawn(connection);
                let row = client.query_one(statement, &[]).await.ok();
                connection.abort();
                return row.map(|row| row.get(0));
            }
        }
        None
    }
}

/// Finds a program of Debian, or says how to get it.
fn find(program: &str, places: &[&str]) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut directories: Vec<PathBuf> = path
        .split(':')
        .chain(places.iter().copied())
        .map(PathBuf::from)
        .collect();
    directories.extend(versions.map(|version| version.path().join("bin")));
    directories
        .into_iter()
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!(
                "{program} is needed for this test. Run as root:\n\
             apt-get install -y --no-install-recommends postgresql redis-server nats-server"
            )
        })
}

fn postgres_command(program: &str) -> Command {
    let program = find(program, &[]);
    let mut command = if geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args([
            format!("--reuid={NOBODY}"),
            format!("--regid={NOBODY}"),
            "--clear-groups".into(),
        ]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(Path::new("/"));
    command
}
