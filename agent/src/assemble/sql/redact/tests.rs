use super::*;

const ALL: [Dialect; 4] = [Dialect::MySql, Dialect::Postgres, Dialect::Sqlite, Dialect::Unknown];

#[test]
fn literals_are_left_out_whatever_the_dialect() {
    for dialect in ALL {
        check(dialect, "SELECT a FROM t1 WHERE b = 'hush'", "SELECT a FROM t1 WHERE b = ?");
        check(dialect, "INSERT INTO t (a,b) VALUES (4711, 'it''s')", "INSERT INTO t (a,b) VALUES (?, ?)");
        check(dialect, "SELECT -1.5e-3, .5, 0x1F, 1_000, X'4A'", "SELECT -?, ?, ?, ?, X?");
        check(dialect, "SELECT a\n\t FROM  t -- hush\nWHERE b<>''", "SELECT a FROM t WHERE b<>?");
        check(dialect, "/* hush */SELECT 1", "SELECT ?");
        check(dialect, "UPDATE größe SET n = n + 1 WHERE id = ?", "UPDATE größe SET n = n + ? WHERE id = ?");
        check(dialect, "SELECT 1;", "SELECT ?;");
        check(dialect, "", "");
        check(dialect, "   ", "");
    }
}

#[test]
fn parameters_stay() {
    for dialect in ALL {
        check(
            dialect,
            "a = $1 AND b = :name AND c = @p1 AND d = ?",
            "a = $1 AND b = :name AND c = @p1 AND d = ?",
        );
    }
    check(Dialect::Sqlite, "a = $name", "a = $name");
    check(Dialect::Postgres, "a::text = $12", "a::text = $12");
}

#[test]
fn what_quotes_are_is_up_to_the_dialect() {
    let text = "SELECT \"a\" FROM `t`";
    check(Dialect::MySql, text, "SELECT ? FROM \"t\"");
    check(Dialect::Sqlite, text, "SELECT ? FROM \"t\"");
    check(Dialect::Postgres, text, "SELECT \"a\" FROM ?");
    check(Dialect::Postgres, "SELECT \"s\".\"a\"", "SELECT \"s\".\"a\"");
    check(Dialect::Unknown, "SELECT a FROM [t] WHERE 1", "SELECT a FROM \"t\" WHERE ?");
    check(Dialect::Postgres, "SELECT a[1] #>> b", "SELECT a[?] #>> b");
}

#[test]
fn dollar_quotes() {
    check(Dialect::Postgres, "SELECT $$it's hush$$, a", "SELECT ?, a");
    check(Dialect::Postgres, "SELECT $x$ $$ hush $y$ $x$, a", "SELECT ?, a");
    check(Dialect::Postgres, "SELECT $x$ hush", "SELECT ?");
    check(Dialect::Postgres, "SELECT foo$x$ FROM a", "SELECT foo$x$ FROM a");
    check(Dialect::MySql, "SELECT $$hush$$", "SELECT ?");
    check(Dialect::Unknown, "SELECT $x$hush$x$", "SELECT ?");
}

#[test]
fn comments() {
    check(Dialect::Postgres, "a /* b /* c */ don't */ d", "a d");
    check(Dialect::MySql, "a /* b /* c */ d", "a d");
    check(Dialect::Unknown, "a /* b /* c */ d", "a ?");
    check(Dialect::MySql, "a # don't\nb", "a b");
    check(Dialect::Sqlite, "a # don't\nb", "a ?");
    check(Dialect::MySql, "a--'hush\nhush'", "a ?");
    check(Dialect::Postgres, "a--'hush\nb", "a b");
    check(Dialect::MySql, "a /*!50000 'b*/hush' */", "a ?");
    check(Dialect::Postgres, "a -- b\rhush'", "a ?");
    check(Dialect::Postgres, "a /* b", "a");
    check(Dialect::Postgres, "SELECT 1e--don't\n'hush'", "SELECT ? ?");
}

/// Each could be read otherwise than we would.
#[test]
fn what_is_not_clear_ends_the_text() {
    for dialect in ALL {
        check(dialect, r"SELECT 'a\' hush 'b'", "SELECT ?");
        check(dialect, "SELECT \\hush", "SELECT ?");
        check(dialect, "SELECT \0 hush", "SELECT ?");
        check(dialect, "SELECT 'hush", "SELECT ?");
        check(dialect, "SELECT a \u{2019}hush\u{2019}", "SELECT a ?");
    }
    check(Dialect::Unknown, "SELECT q'[it's hush]'", "SELECT ?");
    check(Dialect::Unknown, "SELECT '''it's hush'''", "SELECT ?");
    check(Dialect::Unknown, "SELECT [it's hush]", "SELECT ?");
    check(Dialect::Unknown, "SELECT 1 // don't\n'hush'", "SELECT ? ?");
    check(Dialect::MySql, "SELECT `a``hush'`", "SELECT ?");
}

#[test]
fn what_is_no_text_ends_it() {
    let got = |text: &[u8], is_cut| redacted(&tokens(text, is_cut, Dialect::Postgres), is_cut);
    assert_eq!(got(b"SELECT \xff hush", false), "SELECT ?");
    assert_eq!(got(b"SELECT \xff hush", true), "SELECT ?…");
    assert_eq!(got(b"SELECT gr\xc3", false), "SELECT gr ?");
    assert_eq!(got(b"SELECT gr\xc3", true), "SELECT gr…", "a halved character");
    assert_eq!(got(b"SELECT 'hus", true), "SELECT ?…");
    assert_eq!(got(b"\xff", false), "?");
}

/// Statements at random, each with a secret in every literal and comment, cut at every place.
#[test]
fn no_secret_comes_through() {
    const ROUNDS: u64 = 3000;
    let mut n_texts = 0;
    for (written, dialects) in [
        (Dialect::Postgres, [Dialect::Postgres, Dialect::Unknown]),
        (Dialect::MySql, [Dialect::MySql, Dialect::Unknown]),
        (Dialect::Sqlite, [Dialect::Sqlite, Dialect::Unknown]),
    ] {
        for seed in 0..ROUNDS {
            let text = Random(seed * 2 + 1).statement(written);
            for dialect in dialects {
                for end in 0..=text.len() {
                    let cut = &text.as_bytes()[..end];
                    let is_cut = end < text.len();
                    let shown = redacted(&tokens(cut, is_cut, dialect), is_cut);
                    let is_leaked = shown.contains("hu") || shown.contains('4');
                    assert!(!is_leaked, "{written:?} as {dialect:?}: {}\n{shown}", cut.escape_ascii());
                    n_texts += 1;
                }
            }
        }
    }
    println!("{n_texts} texts, no secret in any");
}

/// The text is not shorter because it was not understood.
#[test]
fn what_is_clear_is_understood() {
    const ROUNDS: u64 = 3000;
    for dialect in [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite] {
        let whole = (0..ROUNDS).filter(|seed| {
            let text = format!("{} last", Random(seed * 2 + 1).statement(dialect));
            redacted(&tokens(text.as_bytes(), false, dialect), false).ends_with(" last")
        });
        let n_whole = whole.count();
        println!("{dialect:?}: {n_whole} of {ROUNDS} read to their end");
        assert!(ROUNDS as usize / 2 < n_whole, "{dialect:?}: {n_whole}");
    }
}

#[track_caller]
fn check(dialect: Dialect, text: &str, want: &str) {
    assert_eq!(redacted(&tokens(text.as_bytes(), false, dialect), false), want, "{dialect:?}: {text}");
}

/// Marsaglia's xorshift: the same statements each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn statement(&mut self, dialect: Dialect) -> String {
        let mut text = String::new();
        for _ in 0..=self.below(7) {
            let piece = match self.below(6) {
                0 => self.pick(&["SELECT", "FROM", "a", "b1", "x$y", "größe", "E", "N"]).to_owned() + " ",
                1 => self.pick(&["=", "-", "/", "*", "(", ")", "::", "||", ",", " ", "+"]).to_owned(),
                2 => self.pick(&["4711", "-47.11", "4e-7", "0x47"]).to_owned() + " ",
                3 | 4 => self.literal(dialect),
                _ => self.comment(dialect),
            };
            // Two in a row would be a comment, and a star behind a slash begins one.
            if text.ends_with(['-', '/']) && piece.starts_with(['-', '*', '/']) {
                text.push(' ');
            }
            // A word right before a quote may be a part of it, and a name before a dollar goes on.
            if text.ends_with(is_word) && piece.starts_with(|it| is_word(it) || matches!(it, '\'' | '"')) {
                text.push(' ');
            }
            text += &piece;
            if text.ends_with('\'') || text.ends_with('"') {
                text.push(' ');
            }
        }
        text
    }

    fn literal(&mut self, dialect: Dialect) -> String {
        let is_postgres = dialect == Dialect::Postgres;
        if is_postgres && self.below(3) == 0 {
            let tag = self.pick(&["$$", "$x$", "$_1$"]);
            return format!("{tag}{}{tag}", self.secret(&["'", "\"", "\\", "--", "/*", "$z$"]));
        }
        let quote = if is_postgres { "'" } else { self.pick(&["'", "\""]) };
        let doubled = quote.repeat(2);
        let other = if quote == "'" { "\"" } else { "'" };
        let escaped = if dialect == Dialect::MySql { format!("\\{quote}") } else { "\\".to_owned() };
        let double = if dialect == Dialect::MySql { "\\\\" } else { "\\" };
        let body = self.secret(&[&doubled, other, &escaped, double, "--", "/*", "*/", "#", "$$", ";", "`"]);
        // Where it escapes nothing.
        let last = if dialect != Dialect::MySql && self.below(4) == 0 { "\\" } else { "" };
        format!("{quote}{body}{last}{quote}")
    }

    fn comment(&mut self, dialect: Dialect) -> String {
        let signs = ["'", "\"", "`", "$$", "\\", "--", "#"];
        match self.below(3) {
            0 => format!("-- {}\n", self.secret(&signs)),
            1 if dialect == Dialect::MySql => format!("# {}\n", self.secret(&signs)),
            1 if dialect == Dialect::Postgres => {
                format!("/* {} /* {} */ {} */", self.secret(&signs), self.secret(&signs), self.secret(&signs))
            }
            _ => format!("/* {} */", self.secret(&signs)),
        }
    }

    /// Secrets with signs between them.
    fn secret(&mut self, signs: &[&str]) -> String {
        let mut secret = "hush".to_owned();
        for _ in 0..self.below(4) {
            secret = format!("{secret}{}hush{}", self.pick(signs), self.pick(&["", " ", "\n"]));
        }
        // In a comment of one line there is one.
        secret.replace('\n', " ")
    }
}
