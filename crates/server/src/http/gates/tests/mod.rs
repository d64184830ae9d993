//! Every endpoint has its line, and shows nobody more than he may see.

mod bed;
mod endpoints;
mod people;
mod unseen;
