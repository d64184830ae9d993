use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::{Deed, Fields, Missing, Report, Row, RowDifference, RowError, coerce};
use crate::{
    Action, Author, Change, Content, Inventory, Outcome, Refused, Resource, Write, Written,
    feed::changed_fields, kind::Kind,
};

/// How many resources are tried in one commit; fewer where they do not fit. Of a kind with two
/// constraints and a reference so many do.
const BATCH: usize = 100;
/// How many commits are on their way at once, to share what makes them durable. With the four requests
/// of `wright import`, some are written while others are drawn up.
const ABREAST: usize = 16;

/// A row that can be written.
#[derive(Debug, Clone)]
struct Ready {
    line: u64,
    kind: String,
    name: String,
    labels: BTreeMap<String, Option<String>>,
    body: Map<String, Value>,
    /// What it refers to.
    targets: Vec<Missing>,
}

impl Ready {
    fn resource(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    fn error(&self, message: impl ToString) -> RowError {
        RowError {
            line: self.line,
            resource: self.resource(),
            message: message.to_string(),
            missing: None,
        }
    }

    /// What is there becomes what the row says, and keeps the rest.
    fn write(&self, there: bool) -> Write {
        let change = if there {
            let patch = json!({ "labels": self.labels, "body": self.body });
            Change::Merge { patch }
        } else {
            let labels = self.labels.iter();
            let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
            let fields = self.body.iter().filter(|(_, value)| !value.is_null());
            let body: Map<_, _> = fields.map(|(k, v)| (k.clone(), v.clone())).collect();
            Change::Create(Content {
                labels: labels.collect(),
                body: Value::Object(body),
            })
        };
        Write::new(&self.kind, &self.name, change)
    }
}

/// Does the writes of an import, all of a call in one commit: the inventory itself, or who holds them
/// against more than their kinds first.
#[async_trait]
pub trait Commit: Send + Sync {
    /// Writes, or says what that would do.
    ///
    /// # Errors
    /// Why nothing was written.
    async fn commit(
        &self,
        writes: &[Write],
        author: &Author,
        dry: bool,
    ) -> Result<Written, Refused>;
}

#[async_trait]
impl Commit for Inventory {
    async fn commit(
        &self,
        writes: &[Write],
        author: &Author,
        dry: bool,
    ) -> Result<Written, Refused> {
        match dry {
            true => self.preview(writes, author).await,
            false => self.write(writes, author).await,
        }
    }
}

/// An import on its way.
struct Import<'a> {
    inventory: &'a Inventory,
    through: &'a dyn Commit,
    author: &'a Author,
    dry: bool,
    /// Whether something of it was there already: then it is looked for before it is written.
    meets: AtomicBool,
}

impl Inventory {
    /// Writes rows in large commits, or says what that would do. Rows that cannot be written are in
    /// the report, and the others are written; what is there keeps what a row does not name.
    ///
    /// # Errors
    /// Where the store fails: what was written until then stays, and may be imported again.
    pub async fn import(
        &self,
        rows: Vec<Row>,
        author: &Author,
        dry: bool,
    ) -> Result<Report, Refused> {
        self.import_through(self, rows, author, dry).await
    }

    /// As [`Inventory::import`], where somebody else does the writes.
    ///
    /// # Errors
    /// As there.
    pub async fn import_through(
        &self,
        through: &dyn Commit,
        rows: Vec<Row>,
        author: &Author,
        dry: bool,
    ) -> Result<Report, Refused> {
        let mut report = Report::default();
        let mut ready = self.ready(rows, &mut report).await?;
        let import = Import {
            inventory: self,
            through,
            author,
            dry,
            meets: AtomicBool::new(dry),
        };
        loop {
            let may_wait = ready.iter().filter(|row| !dry && !row.targets.is_empty());
            let mut named: HashMap<String, Ready> =
                may_wait.map(|row| (row.resource(), row.clone())).collect();
            let before = ready.len();
            let mut done = import.all(ready).await?;
            // What some refer to may have come with others.
            let (waiting, errors): (Vec<_>, Vec<_>) = done
                .errors
                .into_iter()
                .partition(|error| error.missing.is_some());
            done.errors = errors;
            report.add(done);
            if dry || waiting.is_empty() || waiting.len() == before {
                report.errors.extend(waiting);
                break;
            }
            let again = waiting
                .iter()
                .filter_map(|error| named.remove(&error.resource));
            ready = again.collect();
        }
        report.errors.sort_by_key(|error| error.line);
        report.differences.sort_by_key(|difference| difference.line);
        Ok(report)
    }

    /// Rows with values as their kinds say.
    async fn ready(&self, rows: Vec<Row>, report: &mut Report) -> Result<Vec<Ready>, Refused> {
        let mut kinds: HashMap<String, Option<Arc<Kind>>> = HashMap::new();
        let mut lines: HashMap<(String, String), u64> = HashMap::with_capacity(rows.len());
        let mut ready = Vec::with_capacity(rows.len());
        for row in rows {
            let mut it = Ready {
                line: row.line,
                kind: row.kind,
                name: row.name,
                labels: row.labels,
                body: Map::new(),
                targets: Vec::new(),
            };
            if !kinds.contains_key(&it.kind) {
                let kind = self.kind(&it.kind).await?;
                kinds.insert(it.kind.clone(), kind);
            }
            let kind = kinds.get(&it.kind).and_then(Option::as_ref);
            let named = (it.kind.clone(), it.name.clone());
            if let Some(line) = lines.insert(named, it.line) {
                let message = format!("it is on line {line} already");
                report.errors.push(it.error(message));
                continue;
            }
            it.body = match (row.fields, kind) {
                (Fields::Body(body), _) => body,
                (Fields::Cells(cells), Some(kind)) => {
                    match coerce::values(&kind.definition().fields, cells) {
                        Ok(body) => body,
                        Err(violations) => {
                            let errors = violations.iter().map(|violation| it.error(violation));
                            report.errors.extend(errors);
                            continue;
                        }
                    }
                }
                // It is refused with the kinds that there are.
                (Fields::Cells(_), None) => Map::new(),
            };
            for relation in kind.into_iter().flat_map(|kind| kind.relations()) {
                let targets = relation.targets(&it.body).map(|name| Missing {
                    kind: relation.to.to_owned(),
                    name: name.to_owned(),
                });
                it.targets.extend(targets);
            }
            ready.push(it);
        }
        Ok(ready)
    }
}

impl Import<'_> {
    async fn all(&self, ready: Vec<Ready>) -> Result<Report, Refused> {
        let mut rows = ready.into_iter();
        let batches = std::iter::from_fn(|| {
            let batch: Vec<Ready> = rows.by_ref().take(BATCH).collect();
            (!batch.is_empty()).then_some(batch)
        });
        let done = stream::iter(batches).map(|batch| self.batch(batch));
        let done = done.buffer_unordered(ABREAST);
        let fold = async |mut report: Report, part| {
            report.add(part);
            Ok(report)
        };
        done.try_fold(Report::default(), fold).await
    }

    /// Writes a batch; without those of its rows that cannot be written.
    async fn batch(&self, batch: Vec<Ready>) -> Result<Report, Refused> {
        let mut report = Report::default();
        let mut waiting = vec![batch];
        while let Some(mut batch) = waiting.pop() {
            if batch.is_empty() {
                continue;
            }
            let meets = self.meets.load(Ordering::Relaxed);
            let there = match meets {
                true => self.there(&batch).await?,
                false => vec![None; batch.len()],
            };
            let writes = batch.iter().zip(&there);
            let writes: Vec<Write> = writes.map(|(row, it)| row.write(it.is_some())).collect();
            match self.through.commit(&writes, self.author, self.dry).await {
                Ok(written) => {
                    let rows = batch.iter().zip(there).zip(written.outcomes);
                    rows.for_each(|((row, before), outcome)| {
                        self.note(&mut report, row, before.as_ref(), outcome);
                    });
                }
                Err(Refused::Exists { .. }) if !meets => {
                    self.meets.store(true, Ordering::Relaxed);
                    waiting.push(batch);
                }
                Err(Refused::Invalid(violations)) => {
                    let wrong = |row: &Ready| {
                        let resource = row.resource();
                        let own = violations.iter().filter(move |it| it.resource == resource);
                        own.map(|violation| row.error(violation))
                            .collect::<Vec<_>>()
                    };
                    let all = batch.len();
                    batch.retain(|row| {
                        let wrong = wrong(row);
                        let keep = wrong.is_empty();
                        report.errors.extend(wrong);
                        keep
                    });
                    if batch.len() == all {
                        halve(
                            batch,
                            &mut waiting,
                            &mut report,
                            &Refused::Invalid(violations),
                        );
                    } else {
                        waiting.push(batch);
                    }
                }
                Err(refused @ Refused::Inventory(_)) => return Err(refused),
                Err(Refused::NoTarget { .. }) if self.lacking(&mut batch, &mut report).await? => {
                    waiting.push(batch);
                }
                Err(refused) => match place(&batch, &refused) {
                    Some(place) => {
                        let row = batch.remove(place);
                        report.errors.push(refusal(&row, &refused));
                        wait_for(&mut batch, &row, &mut report);
                        waiting.push(batch);
                    }
                    None => halve(batch, &mut waiting, &mut report, &refused),
                },
            }
        }
        Ok(report)
    }

    /// Takes out of a batch all that refer to what is neither there nor in the batch; whether there
    /// are any.
    async fn lacking(&self, batch: &mut Vec<Ready>, report: &mut Report) -> Result<bool, Refused> {
        let mut there: HashMap<Missing, bool> = HashMap::new();
        for row in batch.iter() {
            let own = Missing {
                kind: row.kind.clone(),
                name: row.name.clone(),
            };
            there.insert(own, true);
        }
        for target in batch.iter().flat_map(|row| &row.targets) {
            if !there.contains_key(target) {
                let found = self.inventory.resource(&target.kind, &target.name).await?;
                there.insert(target.clone(), found.is_some());
            }
        }
        let lacks = |row: &Ready| {
            let missing = row
                .targets
                .iter()
                .find(|target| there.get(target) == Some(&false));
            missing.cloned()
        };
        let mut gone = Vec::new();
        for row in batch.extract_if(.., |row| lacks(row).is_some()) {
            let missing = lacks(&row);
            let told = missing
                .as_ref()
                .map(|it| format!("{}/{} is not there", it.kind, it.name));
            report.errors.push(RowError {
                missing,
                ..row.error(told.unwrap_or_default())
            });
            gone.push(row);
        }
        gone.iter().for_each(|row| wait_for(batch, row, report));
        Ok(!gone.is_empty())
    }

    async fn there(&self, batch: &[Ready]) -> Result<Vec<Option<Resource>>, Refused> {
        let read = batch
            .iter()
            .map(|row| self.inventory.resource(&row.kind, &row.name));
        Ok(futures::future::try_join_all(read).await?)
    }

    fn note(&self, report: &mut Report, row: &Ready, before: Option<&Resource>, outcome: Outcome) {
        let deed = match outcome.action {
            Action::Created => Deed::New,
            Action::Unchanged => {
                report.same += 1;
                return;
            }
            _ => Deed::Changed,
        };
        match deed {
            Deed::New => report.created += 1,
            Deed::Changed => report.changed += 1,
        }
        if !self.dry {
            return;
        }
        report.differences.push(RowDifference {
            line: row.line,
            resource: row.resource(),
            deed,
            fields: changed_fields(before, Some(&outcome.resource)),
        });
    }
}

/// The row that a refusal is about.
fn place(batch: &[Ready], refused: &Refused) -> Option<usize> {
    let (kind, name) = match refused {
        Refused::NoTarget { kind, name, .. }
        | Refused::Taken { kind, name, .. }
        | Refused::Platform { kind, name, .. }
        | Refused::NotFound { kind, name }
        | Refused::Conflict { kind, name, .. } => (kind, name),
        _ => return None,
    };
    batch
        .iter()
        .position(|row| row.kind == *kind && row.name == *name)
}

/// Those who refer to a row that was not taken wait for it, and so on.
fn wait_for(batch: &mut Vec<Ready>, row: &Ready, report: &mut Report) {
    let mut gone = vec![Missing {
        kind: row.kind.clone(),
        name: row.name.clone(),
    }];
    while let Some(missing) = gone.pop() {
        let refers = |row: &mut Ready| row.targets.contains(&missing);
        for row in batch.extract_if(.., refers) {
            let message = format!("{}/{} is not there", missing.kind, missing.name);
            report.errors.push(RowError {
                missing: Some(missing.clone()),
                ..row.error(message)
            });
            gone.push(Missing {
                kind: row.kind,
                name: row.name,
            });
        }
    }
}

fn refusal(row: &Ready, refused: &Refused) -> RowError {
    let missing = match refused {
        Refused::NoTarget { to, target, .. } => Some(Missing {
            kind: to.clone(),
            name: target.clone(),
        }),
        _ => None,
    };
    RowError {
        missing,
        ..row.error(refused)
    }
}

/// Of a refusal that is about nobody knows which of many rows, or of too many at once: tries each half.
fn halve(
    mut batch: Vec<Ready>,
    waiting: &mut Vec<Vec<Ready>>,
    report: &mut Report,
    refused: &Refused,
) {
    if let [row] = batch.as_slice() {
        report.errors.push(refusal(row, refused));
        return;
    }
    let second = batch.split_off(batch.len() / 2);
    waiting.extend([second, batch]);
}
