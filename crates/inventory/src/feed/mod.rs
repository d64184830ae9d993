//! The feed: every change of resources, once and in order, to whoever asked for it.
//!
//! The central type is [`Hub`]: one reader of the store for all watchers of a server. A [`Watcher`]
//! is told of each [`Change`] that concerns it, and by bookmarks how far it has come.
//!
//! ```
//! # use wright_inventory::{Inventory, feed::{Hub, News, Settings, Subscription}};
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let store = wright_store::open(&format!("file:{}", directory.path().display())).await?;
//! let (hub, reader) = Hub::open(store.clone(), Settings::default()).await?;
//! tokio::spawn(reader.run());
//! let mut watcher = hub.watch(Subscription::kind("host")).await?;
//! Inventory::new(store).put_as("host", "h1", "new").await?;
//! loop {
//!     match watcher.next().await? {
//!         News::Change(told) => break assert_eq!(told.change.name, "h1"),
//!         News::Bookmark(_) => {}
//!     }
//! }
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run()).unwrap();
//! ```
//!
//! # Invariants
//! - A watcher is told of every change after its position that its subscription matches: once, in the
//!   order of the commits, those of one commit in the order of their keys.
//! - Whoever resumes from a position that it was told misses nothing and hears nothing twice; where
//!   that cannot be kept, it is told so ([`FeedError::Expired`]) and never left in silence.
//! - A watcher whose filter follows references is told of a commit what it means for the resources that
//!   are watched, once each, in the order of their names; it reads what that takes by itself.
//! - A watcher that does not read holds up nobody and costs a bounded queue.

mod change;
mod condition;
mod error;
mod fields;
mod filter;
mod hub;
mod interest;
mod position;
mod related;
mod ring;
mod watcher;
mod world;

pub use change::{Change, Content, Told, What};
pub use condition::{Condition, ConditionError};
pub use error::FeedError;
pub use fields::changed_fields;
pub use filter::{Equality, Filter, Selection};
pub use hub::{Hub, Reader, Settings};
pub(crate) use hub::{mark, range};
pub use position::{Position, PositionError};
pub use related::{Related, Sighted, Understood};
pub use watcher::{News, Subscription, Watcher};
