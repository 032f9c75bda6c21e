//! The tables of the truth files: a title, a line of column names, rows, all separated by tabs.

use std::net::IpAddr;
use std::str::FromStr;

use sidetone::Stamp;
use sidetone::wire::Endpoint;

/// Rows of a table with the names of their columns.
#[derive(Default)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// One row.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    columns: &'a [String],
    cells: &'a [String],
}

impl Table {
    /// The table under the line that starts with `title`; `None` when the file has none.
    pub(crate) fn under(title: &str, text: &str) -> Option<Self> {
        let mut lines = text.lines().skip_while(|line| !line.starts_with(title)).skip(1);
        lines
            .next()
            .map(|head| Self::of(head, lines.take_while(|line| !line.is_empty() && !line.starts_with('#'))))
    }

    /// A file that is one table.
    pub(crate) fn whole(text: &str) -> Self {
        let mut lines = text.lines();
        Self::of(lines.next().unwrap_or_default(), lines)
    }

    fn of<'a>(head: &str, rows: impl Iterator<Item = &'a str>) -> Self {
        let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
        Self { columns: cells(head), rows: rows.map(cells).collect() }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { columns: &self.columns, cells })
    }
}

impl<'a> Row<'a> {
    /// A cell; empty where the row is short.
    pub(crate) fn text(&self, column: &str) -> &'a str {
        let at = self.columns.iter().position(|name| name == column);
        let at = at.unwrap_or_else(|| panic!("no column {column} in {:?}", self.columns));
        self.cells.get(at).map_or("", String::as_str)
    }

    /// A number; `None` for `-`, `?` and an empty cell.
    pub(crate) fn number<T: FromStr>(&self, column: &str) -> Option<T> {
        self.text(column).parse().ok()
    }

    pub(crate) fn endpoint(&self, ip: &str, port: &str) -> Endpoint {
        Endpoint { ip: self.text(ip).parse().unwrap(), port: self.number(port).unwrap() }
    }
}

/// `192.0.2.1:5060` and `2001:db8::1:5060`.
pub(crate) fn endpoint(text: &str) -> Option<Endpoint> {
    let (ip, port) = text.rsplit_once(':')?;
    Some(Endpoint { ip: ip.trim_matches(['[', ']']).parse::<IpAddr>().ok()?, port: port.parse().ok()? })
}

/// `1105725482.965944000`.
pub(crate) fn stamp(text: &str) -> Option<Stamp> {
    let (seconds, fraction) = text.split_once('.')?;
    let nanos: u64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(Stamp(seconds.parse::<u64>().ok()? * 1_000_000_000 + nanos))
}
