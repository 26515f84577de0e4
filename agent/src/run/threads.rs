//! Threads of the agent: their ends are noticed, expected or not.

use std::{future::Future, io, pin::Pin, thread};

use tokio::sync::oneshot;

use super::RunError;

/// A running thread, as those who wait for its end see it.
pub(super) struct Thread {
    name: &'static str,
    handle: thread::JoinHandle<()>,
    /// Its other end is dropped with the thread, by a panic too.
    alive: oneshot::Receiver<()>,
}

impl Thread {
    pub(super) fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<Self, RunError> {
        let (life, alive) = oneshot::channel();
        let work = move || {
            let _life: oneshot::Sender<()> = life;
            work();
        };
        let started: io::Result<_> = thread::Builder::new().name(name.to_owned()).spawn(work);
        let handle = started.map_err(|source| RunError::Thread { name, source })?;
        Ok(Self { name, handle, alive })
    }

    /// Waits for its end, and complains of a bad one.
    pub(super) async fn join(self) {
        let handle = self.handle;
        let joined = tokio::task::spawn_blocking(move || handle.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!(thread = self.name, "A part of the agent died.");
        }
    }
}

/// The name of the first one to end.
pub(super) async fn first_to_end<const N: usize>(threads: [&mut Thread; N]) -> &'static str {
    let mut waits: Vec<(&'static str, Pin<&mut oneshot::Receiver<()>>)> =
        threads.into_iter().map(|it| (it.name, Pin::new(&mut it.alive))).collect();
    std::future::poll_fn(move |context| {
        let ended = waits
            .iter_mut()
            .find_map(|(name, alive)| alive.as_mut().poll(context).is_ready().then_some(*name));
        ended.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_thread_that_dies_is_named() {
        let (stop, stopped) = mpsc::channel::<()>();
        let (other_stop, other_stopped) = mpsc::channel::<()>();
        let wait = |inbox: mpsc::Receiver<()>| move || assert!(inbox.recv().is_err(), "nobody sends");
        let mut lives = Thread::start("lives", wait(stopped)).unwrap();
        let mut also = Thread::start("also", wait(other_stopped)).unwrap();
        let mut dies = Thread::start("dies", || panic!("as is wanted here")).unwrap();
        assert_eq!(first_to_end([&mut lives, &mut also, &mut dies]).await, "dies");
        drop((stop, other_stop));
        lives.join().await;
        also.join().await;
    }
}
