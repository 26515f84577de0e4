//! Which database a driver is for, by the package of its connections.

/// What a database takes for what: decides where a literal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    MySql,
    Postgres,
    Sqlite,
    /// Only what all of them agree on is understood.
    Unknown,
}

/// A database, as the conventions name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    pub name: &'static str,
    pub dialect: Dialect,
}

/// Of drivers that are not known, and of those that wrap another.
pub const OTHER: System = System { name: "other_sql", dialect: Dialect::Unknown };

/// Packages, and all below them.
const DRIVERS: &[(&str, System)] = &[
    ("github.com/lib/pq", System { name: "postgresql", dialect: Dialect::Postgres }),
    ("github.com/jackc/pgx", System { name: "postgresql", dialect: Dialect::Postgres }),
    ("github.com/go-sql-driver/mysql", System { name: "mysql", dialect: Dialect::MySql }),
    ("github.com/mattn/go-sqlite3", System { name: "sqlite", dialect: Dialect::Sqlite }),
    ("modernc.org/sqlite", System { name: "sqlite", dialect: Dialect::Sqlite }),
    ("github.com/microsoft/go-mssqldb", System { name: "microsoft.sql_server", dialect: Dialect::Unknown }),
    ("github.com/denisenkom/go-mssqldb", System { name: "microsoft.sql_server", dialect: Dialect::Unknown }),
    ("github.com/ClickHouse/clickhouse-go", System { name: "clickhouse", dialect: Dialect::Unknown }),
    ("github.com/godror/godror", System { name: "oracle.db", dialect: Dialect::Unknown }),
    ("github.com/sijms/go-ora", System { name: "oracle.db", dialect: Dialect::Unknown }),
];

/// The vendored copy of a package is that package.
#[must_use]
pub fn system(package: &str) -> System {
    let package = package.rsplit_once("/vendor/").map_or(package, |(_, package)| package);
    let is_of = |driver: &str| {
        package.strip_prefix(driver).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    DRIVERS.iter().find(|(driver, _)| is_of(driver)).map_or(OTHER, |(_, system)| *system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages() {
        for (package, want) in [
            ("github.com/lib/pq", "postgresql"),
            ("github.com/jackc/pgx/v5/stdlib", "postgresql"),
            ("example.test/shop/vendor/github.com/go-sql-driver/mysql", "mysql"),
            ("modernc.org/sqlite", "sqlite"),
            ("modernc.org/sqlite3", "other_sql"),
            ("github.com/XSAM/otelsql", "other_sql"),
            ("", "other_sql"),
        ] {
            assert_eq!(system(package).name, want, "{package}");
        }
    }
}
