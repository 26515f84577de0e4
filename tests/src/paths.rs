//! Where programs are, seen from the running test: all of them are below cargo's target folder.

use std::{
    env,
    path::{Path, PathBuf},
};

/// A program of `tests/targets`, or one of cargo's own, such as `taskscope`.
#[track_caller]
pub fn built(name: &str) -> PathBuf {
    find_built(name).unwrap_or_else(|| panic!("`{name}` is not built: start tests with `cargo xtask test`"))
}

/// `cargo xtask test` says in `TASKSCOPE_BIN` and `TASKSCOPE_TARGETS` what it has built.
pub fn find_built(name: &str) -> Option<PathBuf> {
    let told = match name {
        "taskscope" => env::var_os("TASKSCOPE_BIN").map(PathBuf::from),
        _ => env::var_os("TASKSCOPE_TARGETS").map(|it| Path::new(&it).join(name)),
    };
    let test = env::current_exe().expect("a test has a file");
    told.filter(|it| it.is_file()).or_else(|| find(&test, name, Path::is_file))
}

/// A script of `tests/targets`, by its path from there.
#[track_caller]
pub fn script(path: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets").join(path);
    assert!(script.is_file(), "there is no {}", script.display());
    script
}

/// The nearest folder wins: it is that of the profile that the test itself was built with.
fn find(test: &Path, name: &str, is_there: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    test.ancestors()
        .skip(1)
        .take(3)
        .flat_map(|dir| [dir.join(name), dir.join("targets").join(name)])
        .find(|it| is_there(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_programs_of_cargo_and_of_xtask() {
        let there = ["/x/target/debug/taskscope", "/x/target/targets/http", "/x/target/targets/taskscope"];
        let look = |name| {
            let test = Path::new("/x/target/debug/deps/kernel-0123");
            let found = find(test, name, |it| there.iter().any(|there| it == Path::new(there)))?;
            Some(found.to_str()?.to_owned())
        };
        assert_eq!(look("taskscope").as_deref(), Some("/x/target/debug/taskscope"));
        assert_eq!(look("http").as_deref(), Some("/x/target/targets/http"));
        assert_eq!(look("absent"), None);
    }
}
