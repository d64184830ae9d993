//! The peer: PostgreSQL from Debian with the schema that a team would make. JSONB with GIN for any
//! question, plain columns with indexes for the frequent ones, a text search vector, and a table of
//! history; asked by its own `pgbench`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use super::Said;
use crate::{Result, run};

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// How often each question is asked.
const TIMES: &str = "200";
/// How long it writes, seconds.
const WRITING: &str = "10";

const TABLES: &str = "
CREATE TABLE resource (
  kind text NOT NULL, name text NOT NULL, body jsonb NOT NULL,
  model text GENERATED ALWAYS AS (body->>'model') STORED,
  status text GENERATED ALWAYS AS (body->>'status') STORED,
  environment text GENERATED ALWAYS AS (body->>'environment') STORED,
  site text GENERATED ALWAYS AS (body->>'site') STORED,
  serial text GENERATED ALWAYS AS (body->>'serial') STORED,
  cores bigint GENERATED ALWAYS AS ((body->>'cores')::bigint) STORED,
  cabinet text GENERATED ALWAYS AS (body->>'cabinet') STORED,
  hall text GENERATED ALWAYS AS (body->>'hall') STORED,
  machine text GENERATED ALWAYS AS (body->>'machine') STORED,
  words tsvector GENERATED ALWAYS AS (
    to_tsvector('simple', name || ' ' || jsonb_path_query_array(body, '$.* ? (@.type() == \"string\")')::text)) STORED
);
CREATE TABLE history (id bigserial PRIMARY KEY, at timestamptz DEFAULT now(), kind text, name text, actor text, body jsonb);
";

const INDEXES: &str = "
ALTER TABLE resource ADD PRIMARY KEY (kind, name);
CREATE UNIQUE INDEX ON resource (kind, serial);
CREATE INDEX ON resource (kind, model, status);
CREATE INDEX ON resource (kind, site);
CREATE INDEX ON resource (kind, cabinet) WHERE cabinet IS NOT NULL;
CREATE INDEX ON resource (kind, hall) WHERE hall IS NOT NULL;
CREATE INDEX ON resource (kind, machine) WHERE machine IS NOT NULL;
CREATE INDEX ON resource (status, environment);
CREATE INDEX ON resource USING gin (body jsonb_path_ops);
CREATE INDEX ON resource USING gin (words);
VACUUM ANALYZE;
";

const HOP: &str = "
\\set site random(0, 11)
SELECT m.name, m.serial, c.hall, count(*) OVER () FROM resource m
JOIN resource c ON c.kind = 'cabinet' AND c.name = m.cabinet
WHERE m.kind = 'machine' AND m.model = 'compute' AND m.cores >= 16 AND m.status = 'active'
AND c.site = 'site-' || :site ORDER BY m.name LIMIT 100;
";

const HOPS: &str = "
\\set hall random(0, HALLS)
SELECT m.name, m.serial, c.hall, count(*) OVER () FROM resource m
JOIN resource c ON c.kind = 'cabinet' AND c.name = m.cabinet
JOIN resource h ON h.kind = 'hall' AND h.name = c.hall
WHERE m.kind = 'machine' AND m.model = 'compute' AND m.cores >= 16
AND h.name = 'hall-' || lpad(:hall::text, 7, '0')
AND (SELECT count(*) FROM resource p WHERE p.kind = 'program' AND p.machine = m.name) < 4
ORDER BY m.name LIMIT 100;
";

const SERIAL: &str = "
\\set number random(0, EACH)
SELECT name FROM resource WHERE kind = 'machine' AND serial =
  (SELECT serial FROM resource WHERE kind = 'machine' AND name = 'machine-' || lpad(:number::text, 7, '0'));
";

const GROUP: &str = "SELECT status, environment, count(*) FROM resource GROUP BY 1, 2;";

const SEARCHES: [&str; 10] = [
    "machine-00:*",
    "legacy:* & core:*",
    "team-07:* & backup:*",
    "gpu:*",
    "'10.0.7':*",
    "user0001:* & edge:*",
    "sn00:*",
    "c00042:*",
    "vendor:* & lab:*",
    "b:*",
];

const WRITE: &str = "
\\set number random(0, EACH)
\\set serial random(1, 1000000000000)
\\set priority random(0, 9)
BEGIN;
UPDATE resource SET body = body || jsonb_build_object('serial', 'W' || :serial, 'priority', :priority)
  WHERE kind = 'machine' AND name = 'machine-' || lpad(:number::text, 7, '0');
INSERT INTO history (kind, name, actor, body) SELECT kind, name, 'bench', body FROM resource
  WHERE kind = 'machine' AND name = 'machine-' || lpad(:number::text, 7, '0');
COMMIT;
";

/// A server of its own, which nobody else reaches.
pub struct Postgres {
    directory: PathBuf,
}

impl Postgres {
    /// Makes a cluster and starts it: with a quarter of what the resources need as shared buffers, as
    /// its manual advises, and everything else as it comes; commits are durable.
    pub async fn start(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let own = Postgres {
            directory: directory.to_owned(),
        };
        run::must(run::command("chown", ["postgres", &own.path("")])).await?;
        let cluster = own.path("cluster");
        run::output(own.program(
            "initdb",
            &[
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "-D",
                &cluster,
            ],
        ))
        .await?;
        let settings = format!(
            "-k {} -c listen_addresses= -c shared_buffers=1GB -c work_mem=64MB -c max_wal_size=8GB",
            own.path("")
        );
        let log = own.path("log");
        let start = ["-D", &cluster, "-l", &log, "-w", "-o", &settings, "start"];
        run::must(own.program("pg_ctl", &start)).await?;
        Ok(own)
    }

    fn path(&self, name: &str) -> String {
        let path = self.directory.join(name).display().to_string();
        path.trim_end_matches('/').to_owned()
    }

    fn program(&self, name: &str, arguments: &[&str]) -> tokio::process::Command {
        let program = format!("{PROGRAMS}/{name}");
        let words = ["-u", "postgres", "--", &program]
            .into_iter()
            .chain(arguments.iter().copied());
        let mut command = run::command("runuser", words);
        command.current_dir(&self.directory);
        command
    }

    async fn sql(&self, sql: &str) -> Result<String> {
        let socket = self.path("");
        let arguments = [
            "-h",
            &socket,
            "-d",
            "postgres",
            "-v",
            "ON_ERROR_STOP=1",
            "-qAt",
            "-c",
            sql,
        ];
        run::output(self.program("psql", &arguments)).await
    }

    /// What it calls itself.
    pub async fn version(&self) -> Result<String> {
        let version = self.sql("SHOW server_version").await?;
        let number = version.split_whitespace().next().unwrap_or_default();
        Ok(format!("PostgreSQL {number}"))
    }

    /// Ends it.
    pub async fn stop(&self) -> Result {
        let cluster = self.path("cluster");
        run::must(self.program("pg_ctl", &["-D", &cluster, "-m", "fast", "-w", "stop"])).await
    }

    /// Loads what is in a file, and makes the indexes; resources a second.
    pub async fn load(&self, data: &Path, resources: u64) -> Result<f64> {
        for statement in TABLES.split(";\n").filter(|sql| !sql.trim().is_empty()) {
            self.sql(statement).await?;
        }
        let start = Instant::now();
        // The file is read by psql as this user, not by the server.
        let copy = format!(
            "\\copy resource (kind, name, body) FROM '{}'",
            data.display()
        );
        self.sql(&copy).await?;
        for statement in INDEXES.split(";\n").filter(|sql| !sql.trim().is_empty()) {
            self.sql(statement).await?;
        }
        Ok(resources as f64 / start.elapsed().as_secs_f64())
    }

    /// What a question is answered: names, or a line for each group.
    pub async fn answer(&self, question: &str, of: &str) -> Result<Said> {
        let script = match question {
            "hop" => HOP,
            "hops" => HOPS,
            "serial" => SERIAL,
            _ => GROUP,
        };
        // What the bench draws by lot, this names.
        let sql: Vec<&str> = script
            .lines()
            .filter(|line| !line.starts_with('\\'))
            .collect();
        let mut sql = sql.join("\n");
        for variable in [":hall", ":site", ":number"] {
            sql = sql.replace(&format!("{variable}::text"), &format!("'{of}'"));
            sql = sql.replace(variable, of);
        }
        let told = self.sql(&sql).await?;
        let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split('|').collect()).collect();
        let number = |text: Option<&&str>| text.and_then(|text| text.parse().ok());
        let (total, mut first) = match question {
            "group" => (
                lines.iter().filter_map(|line| number(line.last())).sum(),
                told.lines().map(str::to_owned).collect(),
            ),
            _ => {
                let names: Vec<String> = lines.iter().map(|line| line[0].to_owned()).collect();
                let whole = lines.first().and_then(|line| number(line.get(3)));
                (whole.unwrap_or(names.len() as u64), names)
            }
        };
        if question == "group" {
            first.sort_unstable();
        }
        Ok(Said {
            question: question.to_owned(),
            of: of.to_owned(),
            total,
            first,
        })
    }

    /// Asks and writes.
    pub async fn measure(&self, resources: u64) -> Result<BTreeMap<String, f64>> {
        let mut found = BTreeMap::new();
        let each = (resources / 12).saturating_sub(1);
        let fill = |script: &str| {
            let halls = each.min(499).to_string();
            script
                .replace("EACH", &each.to_string())
                .replace("HALLS", &halls)
        };
        for (what, script) in [
            ("hop", HOP),
            ("hops", HOPS),
            ("serial", SERIAL),
            ("group", GROUP),
        ] {
            let times = self.ask(what, &[fill(script)], &["-t", TIMES]).await?;
            note(&mut found, what, times);
        }
        let searches: Vec<String> = SEARCHES
            .iter()
            .map(|words| {
                let words = words.replace('\'', "''");
                format!("SELECT kind, name FROM resource WHERE words @@ to_tsquery('simple', '{words}') LIMIT 20;")
            })
            .collect();
        note(
            &mut found,
            "search",
            self.ask("search", &searches, &["-t", TIMES]).await?,
        );
        let clients = ["-c", "64", "-j", "2", "-T", WRITING];
        let writes = self.ask("write", &[fill(WRITE)], &clients).await?;
        let seconds: f64 = WRITING.parse()?;
        found.insert("writes".to_owned(), writes.len() as f64 / seconds);
        Ok(found)
    }

    /// How long each transaction took, milliseconds.
    async fn ask(&self, what: &str, scripts: &[String], how: &[&str]) -> Result<Vec<f64>> {
        let (socket, prefix) = (self.path(""), self.path(&format!("times-{what}")));
        let mut arguments = vec!["-h", &socket, "-n", "-l", "--log-prefix", &prefix];
        arguments.extend(how);
        let files: Vec<String> = (0..scripts.len())
            .map(|number| self.path(&format!("{what}-{number}.sql")))
            .collect();
        for (file, script) in files.iter().zip(scripts) {
            fs::write(file, script)?;
            arguments.extend(["-f", file]);
        }
        arguments.push("postgres");
        run::output(self.program("pgbench", &arguments)).await?;
        let mut times = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if !path.display().to_string().starts_with(&prefix) {
                continue;
            }
            // client, transaction, microseconds, …
            let text = fs::read_to_string(&path)?;
            let time = |line: &str| line.split(' ').nth(2)?.parse::<f64>().ok();
            times.extend(text.lines().filter_map(time).map(|micros| micros / 1000.0));
        }
        Ok(times)
    }
}

fn note(found: &mut BTreeMap<String, f64>, what: &str, mut times: Vec<f64>) {
    times.sort_unstable_by(f64::total_cmp);
    for of in [50, 99] {
        let at = (times.len() * of / 100).min(times.len().saturating_sub(1));
        let time = times.get(at).copied().unwrap_or(f64::NAN);
        found.insert(format!("{what} p{of}"), time);
    }
}
