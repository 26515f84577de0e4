use std::process::Command;

/// The same command, as a process that the kernel ends when the thread that starts it ends: a test
/// that is killed drops nothing. It becomes the program: its pid is that of the program.
pub(crate) fn mortal(command: &Command) -> Command {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--pdeathsig", "KILL", "--"]);
    wrapped(setpriv, command)
}

/// `outer`, which becomes `command`, with its variables and in its folder.
pub(crate) fn wrapped(mut outer: Command, command: &Command) -> Command {
    outer.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        outer.current_dir(dir);
    }
    outer
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;
    use crate::eventually;

    #[test]
    fn it_keeps_its_environment_and_ends_with_its_starter() {
        let mut command = Command::new("sh");
        command.args(["-c", "test \"$A\" = b && test -z \"$HOME\" && exec sleep 60"]);
        command.env("A", "b").env_remove("HOME");
        let (send, started) = std::sync::mpsc::channel();
        let starter = thread::spawn(move || {
            let child = mortal(&command).spawn().unwrap();
            let name = || fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap();
            eventually("the program", || (name() == "sleep\n").then_some(()));
            send.send(child).unwrap();
        });
        let mut child = started.recv().unwrap();
        starter.join().unwrap();
        let status = eventually("the end", || child.try_wait().unwrap());
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}
