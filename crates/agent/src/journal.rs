//! What was asked for and how it ended, so that nothing is done twice.
//!
//! One JSON object a line, appended and synchronised: `{"begun": key}` before a task's effect,
//! `{"ended": key, "answer": …}` before its answer is sent. What a task asked for is never in it.
//! `{"fenced": job, "claim": n}` when a job's steps first come with this claim: lower ones are refused.

use std::{
    collections::{HashMap, VecDeque},
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use wright_protocol::TaskAnswer;

use crate::durable::{self, Staged};

/// Answers older than these are forgotten when the journal is compacted. A server asks again
/// within one job, whose steps are far fewer.
const ANSWERS_KEPT: usize = 4096;
/// Jobs whose claims are remembered.
const CLAIMS_KEPT: usize = 1024;
const COMPACT_ABOVE: u64 = 4 << 20;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Ended { ended: String, answer: TaskAnswer },
    Begun { begun: String },
    Fenced { fenced: String, claim: u64 },
}

/// The journal file and what it says.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// `None` where everything is forgotten with the process.
    file: Option<File>,
    size: u64,
    answers: HashMap<String, TaskAnswer>,
    order: VecDeque<String>,
    begun: Vec<String>,
    /// Of each job, the highest claim that was seen; the oldest job first.
    claims: VecDeque<(String, u64)>,
}

impl Journal {
    /// A journal that is forgotten with the process.
    pub(crate) fn in_memory() -> Self {
        Journal {
            path: PathBuf::new(),
            file: None,
            size: 0,
            answers: HashMap::new(),
            order: VecDeque::new(),
            begun: Vec::new(),
            claims: VecDeque::new(),
        }
    }

    /// Where it is; empty in memory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens and compacts the journal. What a crash left of a last line is dropped: the effect it
    /// would have recorded was not answered.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut journal = Journal {
            path: path.to_owned(),
            file: Some(append(path)?),
            size: 0,
            answers: HashMap::new(),
            order: VecDeque::new(),
            begun: Vec::new(),
            claims: VecDeque::new(),
        };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(line) => journal.remember(line),
                Err(error) => tracing::warn!(%error, "a damaged line of the journal is ignored"),
            }
        }
        journal.compact()?;
        Ok(journal)
    }

    pub(crate) fn answer(&self, key: &str) -> Option<&TaskAnswer> {
        self.answers.get(key)
    }

    /// Whether the task was begun and no answer is known: the agent died while it was at it.
    pub(crate) fn was_interrupted(&self, key: &str) -> bool {
        self.begun.iter().any(|begun| begun == key)
    }

    /// The tasks that were begun and whose answer is not known.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &str> {
        self.begun.iter().map(String::as_str)
    }

    /// The highest claim of a job that was seen; 0 for none.
    pub(crate) fn claim(&self, job: &str) -> u64 {
        let known = self.claims.iter().rev().find(|(known, _)| known == job);
        known.map_or(0, |(_, claim)| *claim)
    }

    pub(crate) fn fence(&mut self, job: &str, claim: u64) -> io::Result<()> {
        self.append(Line::Fenced {
            fenced: job.to_owned(),
            claim,
        })
    }

    pub(crate) fn begin(&mut self, key: &str) -> io::Result<()> {
        if self.was_interrupted(key) {
            return Ok(());
        }
        self.append(Line::Begun {
            begun: key.to_owned(),
        })
    }

    pub(crate) fn end(&mut self, key: &str, answer: &TaskAnswer) -> io::Result<()> {
        self.append(Line::Ended {
            ended: key.to_owned(),
            answer: answer.clone(),
        })?;
        if self.size > COMPACT_ABOVE {
            self.compact()
        } else {
            Ok(())
        }
    }

    fn append(&mut self, line: Line) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            self.remember(line);
            return Ok(());
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        if let Err(error) = file.write_all(&bytes) {
            // What a full disk took of the line must not stand before the next one.
            let _ = file.set_len(self.size);
            return Err(error);
        }
        file.sync_data()?;
        self.size += bytes.len() as u64;
        self.remember(line);
        Ok(())
    }

    fn remember(&mut self, line: Line) {
        match line {
            Line::Begun { begun } => self.begun.push(begun),
            Line::Fenced { fenced, claim } => {
                self.claims.retain(|(job, _)| *job != fenced);
                self.claims.push_back((fenced, claim));
                if self.claims.len() > CLAIMS_KEPT {
                    self.claims.pop_front();
                }
            }
            Line::Ended { ended, answer } => {
                self.begun.retain(|begun| *begun != ended);
                if self.answers.insert(ended.clone(), answer).is_none() {
                    self.order.push_back(ended);
                }
                if self.order.len() > ANSWERS_KEPT
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.answers.remove(&oldest);
                }
            }
        }
    }

    fn compact(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        for begun in &self.begun {
            serde_json::to_writer(
                &mut bytes,
                &Line::Begun {
                    begun: begun.clone(),
                },
            )?;
            bytes.push(b'\n');
        }
        for (fenced, claim) in &self.claims {
            let line = Line::Fenced {
                fenced: fenced.clone(),
                claim: *claim,
            };
            serde_json::to_writer(&mut bytes, &line)?;
            bytes.push(b'\n');
        }
        for ended in &self.order {
            if let Some(answer) = self.answers.get(ended) {
                let line = Line::Ended {
                    ended: ended.clone(),
                    answer: answer.clone(),
                };
                serde_json::to_writer(&mut bytes, &line)?;
                bytes.push(b'\n');
            }
        }
        Staged::write(&self.path, &bytes, 0o600, None)?.commit()?;
        durable::sync_parent(&self.path)?;
        self.file = Some(append(&self.path)?);
        self.size = bytes.len() as u64;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use wright_protocol::{Answer, Blame, Fault};

    use super::*;

    fn journal() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        (directory, path)
    }

    #[test]
    fn answers_and_interrupted_tasks_survive() {
        let (_directory, path) = journal();
        let mut journal = Journal::open(&path).unwrap();
        let fault = Err(Fault::new(Blame::Program, "exited"));
        journal.begin("a").unwrap();
        journal.end("a", &fault).unwrap();
        journal.begin("b").unwrap();
        drop(journal);
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.answer("a"), Some(&fault));
        assert!(journal.was_interrupted("b") && !journal.was_interrupted("a"));
    }

    #[test]
    fn a_torn_last_line_is_as_if_it_was_never_written() {
        let (_directory, path) = journal();
        let mut journal = Journal::open(&path).unwrap();
        journal.begin("a").unwrap();
        journal.end("a", &Ok(Answer::default())).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut torn = Journal::open(&path).unwrap();
            assert!(torn.answer("a").is_none() || cut == whole.len() - 1);
            torn.begin("b").unwrap();
            assert!(
                Journal::open(&path).unwrap().was_interrupted("b"),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn the_highest_claim_of_a_job_survives() {
        let (_directory, path) = journal();
        let mut journal = Journal::open(&path).unwrap();
        journal.fence("job-1", 1).unwrap();
        journal.fence("job-2", 1).unwrap();
        journal.fence("job-1", 2).unwrap();
        drop(Journal::open(&path).unwrap());
        let journal = Journal::open(&path).unwrap();
        assert_eq!((journal.claim("job-1"), journal.claim("job-2")), (2, 1));
        assert_eq!(journal.claim("job-3"), 0);
    }

    #[test]
    fn old_answers_are_forgotten() {
        let (_directory, path) = journal();
        let mut journal = Journal::open(&path).unwrap();
        for key in 0..=ANSWERS_KEPT {
            let line = Line::Ended {
                ended: key.to_string(),
                answer: Ok(Answer::default()),
            };
            journal.remember(line);
        }
        assert!(journal.answer("0").is_none() && journal.answer("1").is_some());
    }
}
