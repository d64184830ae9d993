//! From a site's files to a plan: parse, resolve, place, render, plan; then check, draw, explain
//! and report.
//!
//! The central type is [`Plan`]: every instance with what is done to it, and the graph of steps
//! that does it. [`resolve()`] makes a [`Desired`] of a [`Bundle`] of files; [`plan()`] makes a
//! [`Plan`] of what is desired and what is [`Observed`]; [`lint()`] refuses plans that break an
//! invariant.
//!
//! ```
//! use std::collections::BTreeMap;
//! use wright_model::{Digest, PackageId};
//! use wright_site::{Bundle, Offer, resolve};
//!
//! let files = BTreeMap::from([
//!     ("site.yaml".to_owned(), "site: shop\nbaselines: [web.yaml]\n".to_owned()),
//!     ("web.yaml".to_owned(), "app: web\npackage: web@1\ninstances: 2\nports: { http: 8080 }\n".to_owned()),
//! ]);
//! let web = PackageId { name: "web".parse()?, version: "1.0.3".parse()?, digest: Digest::of(b"web") };
//! let packages = vec![Offer { id: web, platform: "any".to_owned() }];
//! let bundle = Bundle { root: "site.yaml".to_owned(), files };
//! let desired = resolve(&bundle, &packages).map_err(|found| found[0].to_string())?;
//! assert_eq!(desired.apps["web"].instances, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Invariants
//! - Pure: no I/O but [`bundle::collect`], no clock, no randomness.
//! - The same input gives the byte-identical plan, in whatever order maps and lists of hosts come,
//!   with and without the pieces of an earlier one ([`Pieces`]).
//! - Bad input is refused with its place, what was expected and what to do; several mistakes at
//!   once where they do not hide each other.
//! - A plan holds tokens for secrets, never secrets.

pub mod bundle;
mod catalog;
mod desired;
mod explain;
pub mod graph;
mod input;
mod lint;
mod pieces;
mod plan;
mod render;
mod report;
mod resolve;
mod together;

pub use bundle::Bundle;
pub use catalog::{Catalog, Offer};
pub use desired::{App, Desired, FileTemplate, Need, Place, PortWant, SecretWant, Template};
pub use explain::{
    AppStatus, Causes, CommonCause, Explanation, InstanceView, Scene, SiteStatus, Why, status,
};
pub use input::schema;
pub use lint::{RULES, Rule, lint};
pub use pieces::Pieces;
pub use plan::{
    Action, Draft, Label, Observed, Plan, PlanSummary, Planned, PlannedApp, PlannedHost, Touched,
    TouchedLayer, apps, draft, plan, plan_down, without_host,
};
pub use report::{AppTimeline, Bar, Report};
pub use resolve::{resolve, resolve_with};
