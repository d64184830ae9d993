//! What each task does.

mod configure;
mod install;
mod operate;
mod run;
mod watch;

use std::sync::Arc;

use wright_protocol::{Answer, Task, TaskAnswer};

use crate::{
    executor::Shared,
    once::{Order, Output},
};

/// Does a task. Dropped where it is cancelled or its time is over: whatever it has begun must then
/// be ended, or be safe to do again.
pub(crate) async fn perform(shared: Arc<Shared>, order: Order, output: Output) -> TaskAnswer {
    let (key, deadline) = (order.key.as_str(), order.deadline);
    match order.task {
        Task::Fetch { package } => {
            shared.packages.fetch(&package).await?;
            Ok(said(format!("{package} is here and proved")))
        }
        Task::Install { spec } => install::install(&shared, &spec, key, &output).await,
        Task::Configure { spec } => configure::configure(&shared, *spec).await,
        Task::Start { instance } => run::start(&shared, &instance).await,
        Task::AwaitReady { instance } => watch::await_ready(&shared, &instance, deadline).await,
        Task::Stop { instance } => run::stop(&shared, &instance).await,
        Task::Uninstall { instance } => install::uninstall(&shared, &instance, key, &output).await,
        Task::Operate {
            instance,
            operation,
        } => operate::operate(&shared, &instance, operation, key, &output).await,
        Task::Check { instance, check } => watch::check(&shared, &instance, &check).await,
        Task::Logs {
            instance,
            lines,
            follow,
        } => watch::logs(&shared, &instance, lines, follow, &output).await,
        Task::Clear => install::clear(&shared, key, &output).await,
    }
}

fn said(message: impl Into<String>) -> Answer {
    Answer {
        message: message.into(),
        ..Answer::default()
    }
}
