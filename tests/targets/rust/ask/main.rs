//! target-ask: a client that asks an agent for its whole topology again and again, and prints how
//! long each answer took.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the bench reads them")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use agent::query::{
    client::{Client, QueryError},
    proto::{By, Filter},
};
use clap::Parser;
use serde_json::json;

/// As a person or a dashboard would, not in a row: what an answer costs is not known beforehand.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Parser)]
struct Args {
    /// Of the agent.
    socket: PathBuf,
    /// How often to ask.
    questions: u32,
    /// With the edges of each service as one.
    #[arg(long)]
    by_service: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match ask(&Args::parse()).await {
        Ok(seconds) => {
            println!("{}", json!({"seconds": seconds}));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("target-ask: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn ask(Args { socket, questions, by_service }: &Args) -> Result<Vec<f64>, QueryError> {
    let filter = Filter { by: by_service.then(|| By::Service.into()), ..Filter::default() };
    let mut client = Client::connect(socket).await?;
    let mut seconds = Vec::new();
    for _ in 0..*questions {
        let began = Instant::now();
        client.topology(filter.clone()).await?;
        seconds.push(began.elapsed().as_secs_f64());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(seconds)
}
