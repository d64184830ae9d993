//! Reading keys. Every read is linearizable: it sees what was committed before it was asked for.

use tonic::Status;

use super::{
    Engine, fault,
    keys::{self},
    watch,
    wire::{RangeRequest, RangeResponse, ResponseHeader},
};
use crate::{Entry, Page, Range, Revision, StoreError};

/// The most keys that one answer of etcd has; a range without a limit takes several.
const PAGE: usize = 1000;
/// How often the reading of the newest state begins again because what it began with was compacted.
const BEGINNINGS: usize = 5;

/// The revision of an answer.
pub(super) fn revision(header: Option<&ResponseHeader>) -> Revision {
    header.map_or(0, |header| header.revision.cast_unsigned())
}

impl Engine {
    pub(super) async fn read_one(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        let request = RangeRequest {
            key: self.namespace.key(key),
            ..RangeRequest::default()
        };
        let answer = self
            .read(&request)
            .await
            .map_err(|status| fault::error(&status))?;
        Ok(answer
            .kvs
            .into_iter()
            .next()
            .map(|found| self.namespace.entry(found)))
    }

    /// The newest revision.
    pub(super) async fn newest(&self) -> Result<Revision, StoreError> {
        let request = RangeRequest {
            key: self.namespace.key(&[]),
            count_only: true,
            ..RangeRequest::default()
        };
        let answer = self
            .read(&request)
            .await
            .map_err(|status| fault::error(&status))?;
        Ok(revision(answer.header.as_ref()))
    }

    pub(super) async fn read_range(
        &self,
        range: &Range,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, StoreError> {
        for _ in 0..BEGINNINGS {
            let status = match self.pages(range, limit, at).await {
                Ok(page) => return Ok(page),
                Err(status) => status,
            };
            match at {
                Some(asked) if fault::is_future(&status) => {
                    let newest = self.newest().await?;
                    return Err(StoreError::Future { asked, newest });
                }
                Some(asked) if fault::is_compacted(&status) => {
                    let oldest = watch::oldest(self, asked).await?;
                    return Err(StoreError::Compacted { asked, oldest });
                }
                None if fault::is_compacted(&status) => {}
                _ => return Err(fault::error(&status)),
            }
        }
        Err(StoreError::Engine(
            "the store is compacted faster than it can be read".to_owned(),
        ))
    }

    async fn pages(
        &self,
        range: &Range,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, Status> {
        // etcd's empty store has revision 1, and to etcd, 0 is the newest.
        let mut pinned = at.map(|at| at.max(1));
        let mut entries: Vec<Entry> = Vec::new();
        let mut start = self.namespace.key(&range.start);
        let end = self.namespace.end(range.end.as_deref());
        let nothing = keys::is_empty(range);
        loop {
            let left = if limit == 0 {
                PAGE
            } else {
                (limit - entries.len()).min(PAGE)
            };
            let request = RangeRequest {
                key: start,
                // Of a range without keys only the revision is asked for.
                range_end: if nothing {
                    bytes::Bytes::new()
                } else {
                    end.clone()
                },
                limit: i64::try_from(left).unwrap_or(i64::MAX),
                revision: pinned.map_or(0, u64::cast_signed),
                count_only: nothing,
                ..RangeRequest::default()
            };
            let RangeResponse {
                header, kvs, more, ..
            } = self.read(&request).await?;
            let revision = *pinned.get_or_insert(revision(header.as_ref()));
            entries.extend(kvs.into_iter().map(|found| self.namespace.entry(found)));
            let last = entries.last().filter(|_| more && !nothing);
            let full = limit != 0 && entries.len() >= limit;
            match last {
                Some(last) if !full => {
                    start = Range::key(self.namespace.key(&last.key))
                        .end
                        .unwrap_or_default();
                }
                last => {
                    return Ok(Page {
                        more: last.is_some(),
                        revision: at.unwrap_or(revision),
                        entries,
                    });
                }
            }
        }
    }

    async fn read(&self, request: &RangeRequest) -> Result<RangeResponse, Status> {
        let ask = |member: super::cluster::Member| {
            let request = member.request(request.clone());
            async move { Ok(member.keys().range(request).await?.into_inner()) }
        };
        self.cluster.ask(ask).await.answer
    }
}
