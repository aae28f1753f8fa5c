//! SQL of the pages. They send it by `POST /v1/sql` as the signed-in member, as any client could, where the REST API has no sums
//! and no order over several tables. It runs with the member's rights.

use crate::sql::Sql;

/// The newest deals of each stage of a pipeline. `$1` is the pipeline's key, `$2` the most deals of a stage.
pub const CARDS: &str = include_str!("cards.sql");

/// The number of deals of each stage of the pipeline `$1`, and their sum by currency. The sums are texts, because they can exceed
/// a bigint.
pub const SUMS: &str = include_str!("sums.sql");

/// A page of a record's timeline. The file says what its parameters are.
pub const TIMELINE: &str = include_str!("timeline.sql");

/// The figures of Home, in one row.
pub const FIGURES: &str = include_str!("home.sql");

/// How many writes each actor has made in a day, of the latest.
pub const WRITES_OF_A_DAY: &str = include_str!("writes.sql");

/// What the editor of the console shows first.
pub const EXAMPLE: &str = include_str!("example.sql");

/// A statement that shows the first rows of a table, for the console.
pub fn first_rows(table: &str) -> String {
    let mut sql = Sql::new("select * from ");
    sql.name(table).push(" limit 50");
    sql.text
}

#[cfg(test)]
mod tests {
    use super::first_rows;

    #[test]
    fn a_table_of_any_name_is_shown() {
        assert_eq!(first_rows("Odd \"name"), "select * from \"Odd \"\"name\" limit 50");
    }
}
