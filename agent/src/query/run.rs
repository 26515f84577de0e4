//! Runs a client command: asks, prints, and with `--watch` again.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use tokio::time::MissedTickBehavior;

use super::{
    Question,
    client::{Client, QueryError},
    command::{Asked, ClientCommand},
    live::Watcher,
    print::{Format, Show, Style, commands, live},
    proto::Filter,
    screen::{Canvas, Screen, ScreenKind},
};
use crate::config;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    NothingFound,
}

impl Outcome {
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NothingFound => 2,
        }
    }
}

const NOTHING: &str = "Nothing found. `taskscope status` tells what the agent has seen.\n";

/// Asks the agent and prints; until Ctrl-C with `--watch`.
pub async fn run(command: &ClientCommand, screen: &mut Screen<'_>) -> Result<Outcome, QueryError> {
    let Asked { question, filter, format, common } = command.asked();
    let style = common.look.style(format, screen.kind);
    let socket = config::socket(common.socket.as_deref(), &config::environment)?;
    let mut client = Client::connect(&socket).await?;
    let Some(every) = common.watch else {
        let answer = ask(&mut client, question, filter).await?;
        return written(show(answer.as_ref(), &style, screen));
    };
    let watch = Watch { question, filter, style, canvas: Canvas::default(), watcher: Watcher::default() };
    let drawn = watch.redraw_every(every, &mut client, screen);
    tokio::select! {
        signal = tokio::signal::ctrl_c() => {
            signal.map(|()| Outcome::Done).map_err(|source| QueryError::Signal { source })
        }
        drawn = drawn => written(drawn),
    }
}

/// What is asked again and again.
struct Watch {
    question: Question,
    filter: Filter,
    style: Style,
    canvas: Canvas,
    watcher: Watcher,
}

impl Watch {
    /// Ends with an error only. May be dropped while it waits for an answer.
    async fn redraw_every(
        mut self,
        every: Duration,
        client: &mut Client,
        screen: &mut Screen<'_>,
    ) -> Result<Outcome, QueryError> {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.style.format == Format::Json {
                let answer = ask(client, self.question, self.filter.clone()).await?;
                show(answer.as_ref(), &self.style, screen)?;
            } else {
                let frame = self.frame(client).await?;
                self.draw(&frame, screen).map_err(cannot_write)?;
            }
        }
    }

    async fn frame(&mut self, client: &mut Client) -> Result<String, QueryError> {
        let mut frame = Vec::new();
        let is_table = matches!(self.style.format, Format::Table | Format::Wide);
        if self.question == Question::Topology && is_table {
            // Which of them are gone is seen only by who gets all.
            let all = Filter { limit: None, ..self.filter.clone() };
            let change = self.watcher.see(client.topology(all).await?);
            if let Some(change) = change.filter(|it| !it.rows().is_empty()) {
                live::write(&change, self.filter.limit, &self.style, &mut frame).map_err(cannot_write)?;
            }
        } else {
            let answer = ask(client, self.question, self.filter.clone()).await?;
            if answer.n_items() != 0 {
                answer.text(&self.style, &mut frame).map_err(cannot_write)?;
            }
        }
        Ok(String::from_utf8_lossy(&frame).into_owned())
    }

    fn draw(&mut self, frame: &str, screen: &mut Screen<'_>) -> io::Result<()> {
        let drawn = match screen.kind {
            ScreenKind::Terminal if frame.is_empty() => self.canvas.draw(NOTHING, (screen.size)()),
            ScreenKind::Terminal => self.canvas.draw(frame, (screen.size)()),
            ScreenKind::Pipe if frame.is_empty() => return screen.notes.write_all(NOTHING.as_bytes()),
            ScreenKind::Pipe => format!("\n{frame}"),
        };
        screen.out.write_all(drawn.as_bytes())?;
        screen.out.flush()
    }
}

async fn ask(client: &mut Client, question: Question, filter: Filter) -> Result<Box<dyn Show>, QueryError> {
    Ok(match question {
        Question::Status => Box::new(client.status(filter).await?),
        Question::Targets => Box::new(client.targets(filter).await?),
        Question::Topology => Box::new(client.topology(filter).await?),
        Question::Edge => Box::new(client.edge(filter).await?),
        Question::Traces => Box::new(client.traces(filter).await?),
        Question::Trace => Box::new(client.trace(filter).await?),
        Question::Findings => Box::new(client.findings(filter).await?),
    })
}

/// A reader that went away has what it wanted.
fn written(outcome: Result<Outcome, QueryError>) -> Result<Outcome, QueryError> {
    match outcome {
        Err(error) if is_broken_pipe(&error) => Ok(Outcome::Done),
        outcome => outcome,
    }
}

fn is_broken_pipe(error: &QueryError) -> bool {
    matches!(error, QueryError::Write { source } if source.kind() == ErrorKind::BrokenPipe)
}

fn show(answer: &dyn Show, style: &Style, screen: &mut Screen<'_>) -> Result<Outcome, QueryError> {
    let is_empty = answer.n_items() == 0;
    if style.format == Format::Json {
        let mut line = answer.json().map_err(|source| QueryError::Json { source })?;
        if screen.kind == ScreenKind::Terminal {
            line = escaped(&line);
        }
        writeln!(screen.out, "{line}").map_err(cannot_write)?;
    } else if !is_empty {
        answer.text(style, screen.out).map_err(cannot_write)?;
    }
    screen.out.flush().map_err(cannot_write)?;
    if is_empty {
        screen.notes.write_all(NOTHING.as_bytes()).map_err(cannot_write)?;
        return Ok(Outcome::NothingFound);
    }
    Ok(Outcome::Done)
}

/// JSON with escapes for what a terminal would obey. Outside of texts there is none of it.
fn escaped(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for it in json.chars() {
        match u32::from(it) {
            code if commands(it) => line.push_str(&format!("\\u{code:04x}")),
            _ => line.push(it),
        }
    }
    line
}

fn cannot_write(source: io::Error) -> QueryError {
    QueryError::Write { source }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, io::Write};

    use clap::Parser;

    use super::*;
    use crate::query::{
        print::{Headers, Paint},
        proto::FindingsAnswer,
        samples,
        screen::Size,
        server::tests::Agent,
        topology::Topology,
        view::topology,
    };

    const PLAIN: Style = Style { format: Format::Table, headers: Headers::Shown, paint: Paint::Plain };

    #[test]
    fn nothing_found_is_said_on_the_side() {
        let (outcome, out, notes) = shown(&FindingsAnswer::default(), PLAIN);
        assert_eq!((outcome.unwrap(), out.as_str()), (Outcome::NothingFound, ""));
        assert!(notes.starts_with("Nothing found."), "{notes}");

        let json = Style { format: Format::Json, ..PLAIN };
        let (outcome, out, _) = shown(&FindingsAnswer::default(), json);
        assert_eq!(outcome.unwrap(), Outcome::NothingFound);
        assert!(out.contains("\"items\":[]"), "a program still gets its object: {out}");
    }

    #[test]
    fn results_go_out_and_nothing_to_the_side() {
        let (outcome, out, notes) = shown(&shop(), PLAIN);
        assert_eq!((outcome.unwrap(), notes.as_str()), (Outcome::Done, ""));
        assert_eq!(out.lines().count(), 3, "{out}");
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let mut screen =
            Screen { out: &mut Gone, notes: &mut Vec::new(), kind: ScreenKind::Pipe, size: || None };
        let shown = show(&shop(), &PLAIN, &mut screen);
        assert!(matches!(shown, Err(QueryError::Write { .. })));
        assert_eq!(written(shown).unwrap(), Outcome::Done);
    }

    #[tokio::test]
    async fn watching_writes_one_object_a_line_until_nobody_reads() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let agent = Agent::start(&socket, samples::snapshot()).await;
        let line = ["taskscope", "findings", "-o", "json", "--watch=100ms", "--socket"].map(OsString::from);
        let cli = Cli::try_parse_from(line.into_iter().chain([socket.into()])).unwrap();

        let mut out = TwoLines(Vec::new());
        let mut screen =
            Screen { out: &mut out, notes: &mut Vec::new(), kind: ScreenKind::Pipe, size: || None };
        assert_eq!(run(&cli.command, &mut screen).await.unwrap(), Outcome::Done);
        let out = String::from_utf8(out.0).unwrap();
        assert_eq!(out.lines().count(), 2, "{out}");
        for line in out.lines() {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                (&object["command"], object["items"][1]["count"].as_u64()),
                (&"findings".into(), Some(4))
            );
        }
        agent.stop().await;
    }

    #[tokio::test]
    async fn watching_on_a_terminal_draws_over_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let agent = Agent::start(&socket, samples::snapshot()).await;
        for (command, want) in [("topology", "2 edges"), ("findings", "SEVERITY"), ("traces", "STARTED")] {
            let line = ["taskscope", command, "--watch=100ms", "--socket"].map(OsString::from);
            let cli = Cli::try_parse_from(line.into_iter().chain([socket.clone().into()])).unwrap();
            let mut out = TwoFrames(Vec::new());
            let mut screen = Screen {
                out: &mut out,
                notes: &mut Vec::new(),
                kind: ScreenKind::Terminal,
                size: || Some(Size { columns: 200, rows: 50 }),
            };
            assert_eq!(run(&cli.command, &mut screen).await.unwrap(), Outcome::Done);
            assert_eq!(out.0.len(), 2);
            assert!(out.0.iter().all(|frame| frame.contains(want)), "{:?}", out.0);
            let clears = |frame: &String| frame.contains("\x1b[2J");
            assert_eq!(out.0.iter().map(clears).collect::<Vec<_>>(), [true, false]);
        }
        agent.stop().await;
    }

    /// The clock of tokio jumps to the end of a wait when there is nothing else to do.
    #[tokio::test(start_paused = true)]
    async fn an_agent_that_never_answers_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
        for watch in ["--watch=1h", "--no-headers"] {
            let line = ["taskscope", "status", watch, "--socket"].map(OsString::from);
            let cli = Cli::try_parse_from(line.into_iter().chain([socket.clone().into()])).unwrap();
            let (mut out, mut notes) = (Vec::new(), Vec::new());
            let mut screen =
                Screen { out: &mut out, notes: &mut notes, kind: ScreenKind::Pipe, size: || None };
            let error = run(&cli.command, &mut screen).await.unwrap_err().to_string();
            assert!(error.contains("does not answer: it took 10 s"), "{error}");
        }
    }

    #[test]
    fn json_does_not_command_a_terminal() {
        let mut answer = FindingsAnswer::default();
        answer.lost.insert("a\u{9b}2J\u{202e}b\u{7f}ü".to_owned(), 1);
        let json = |kind| {
            let (mut out, mut notes) = (Vec::new(), Vec::new());
            let mut screen = Screen { out: &mut out, notes: &mut notes, kind, size: || None };
            show(&answer, &Style { format: Format::Json, ..PLAIN }, &mut screen).unwrap();
            String::from_utf8(out).unwrap()
        };
        let (terminal, pipe) = (json(ScreenKind::Terminal), json(ScreenKind::Pipe));
        assert!(terminal.contains(r#""a\u009b2J\u202eb\u007fü""#), "{terminal}");
        assert!(pipe.contains("a\u{9b}2J\u{202e}b"), "{pipe}");
        let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parsed(&terminal), parsed(&pipe));
    }

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: ClientCommand,
    }

    /// Goes away after two lines.
    struct TwoLines(Vec<u8>);

    impl Write for TwoLines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.iter().filter(|it| **it == b'\n').count() == 2 {
                return Err(ErrorKind::BrokenPipe.into());
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Goes away after two frames, each of which must come as a whole.
    struct TwoFrames(Vec<String>);

    impl Write for TwoFrames {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() == 2 {
                return Err(ErrorKind::BrokenPipe.into());
            }
            self.0.push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shop() -> Topology {
        topology::answer(&samples::snapshot(), &Filter::default()).unwrap().try_into().unwrap()
    }

    fn shown(answer: &dyn Show, style: Style) -> (Result<Outcome, QueryError>, String, String) {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut screen = Screen { out: &mut out, notes: &mut notes, kind: ScreenKind::Pipe, size: || None };
        let outcome = show(answer, &style, &mut screen);
        (outcome, String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap())
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
