//! From a statement's text to its value: recursive descent, one function for each form.
//!
//! What is not understood is a syntax error that shows where reading stopped, as MySQL does it.

use super::lexer::{self, Kind, Token};
use super::statement::{
    Assignment, Condition, Definition, Expression, Item, Order, Select, Show, Statement, StatusLines, Target,
};

/// Statements in one COM_QUERY; more are a syntax error.
const STATEMENTS_MAX: usize = 64;
/// How deep calls may nest, so that a hostile statement cannot exhaust the stack.
const NESTING_MAX: usize = 16;

/// Where reading stopped: an offset into the statement's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) at: usize,
}

/// A statement with the number of its `?`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parsed {
    pub(super) statement: Statement,
    pub(super) parameter_count: usize,
}

/// Reads all statements of `text`, which `;` separates.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Parsed>, SyntaxError> {
    let tokens = lexer::tokens(text).map_err(|unclosed| SyntaxError { at: unclosed.at })?;
    let mut parser = Parser { text, tokens: &tokens, at: 0, parameter_count: 0, depth: 0 };
    let mut statements = Vec::new();
    loop {
        while parser.take_sign(b';') {}
        if parser.at == tokens.len() {
            break;
        }
        if statements.len() == STATEMENTS_MAX {
            return Err(parser.error());
        }
        parser.parameter_count = 0;
        let statement = parser.statement()?;
        parser.expect_end()?;
        statements.push(Parsed { statement, parameter_count: parser.parameter_count });
    }
    if statements.is_empty() {
        statements.push(Parsed { statement: Statement::Nothing, parameter_count: 0 });
    }
    Ok(statements)
}

struct Parser<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
    /// The next token to read; `0 <= at <= tokens.len()`.
    at: usize,
    /// `?` seen in this statement.
    parameter_count: usize,
    /// Calls around the one being read; `0 <= depth <= NESTING_MAX`.
    depth: usize,
}

type Result<T, E = SyntaxError> = std::result::Result<T, E>;

impl Parser<'_> {
    fn statement(&mut self) -> Result<Statement> {
        let verb = self.word()?.to_ascii_uppercase();
        match verb.as_str() {
            "SELECT" => self.select().map(Statement::Select),
            "SHOW" => self.show().map(Statement::Show),
            "SET" => self.set().map(Statement::Set),
            "USE" => self.name().map(Statement::Use),
            "BEGIN" => Ok(self.then_skip_words(Statement::Begin)),
            "START" => {
                self.expect_word("TRANSACTION")?;
                Ok(self.then_skip_words(Statement::Begin))
            }
            "COMMIT" => Ok(self.then_skip_words(Statement::Commit)),
            "ROLLBACK" => Ok(self.then_skip_words(Statement::Rollback)),
            "CREATE" => self.create().map(Statement::Define),
            "DROP" => self.drop_object().map(Statement::Define),
            "TRUNCATE" => {
                self.take_word("TABLE");
                Ok(Statement::Truncate { table: self.table()? })
            }
            "INSERT" => self.insert(),
            "UPDATE" => self.update(),
            "DELETE" => {
                self.expect_word("FROM")?;
                Ok(Statement::Delete { table: self.table()?, condition: self.condition()? })
            }
            "KILL" => self.kill(),
            _ => {
                self.at -= 1;
                Err(self.error())
            }
        }
    }

    fn select(&mut self) -> Result<Select> {
        let items = self.list(Self::item)?;
        let table = if self.take_word("FROM") { Some(self.table()?) } else { None };
        let condition = self.condition()?;
        let order = self.order()?;
        let limit = if self.take_word("LIMIT") { Some(self.number()?) } else { None };
        if self.take_word("FOR") {
            self.expect_word("UPDATE")?;
        }
        Ok(Select { items, table, condition, order, limit })
    }

    fn item(&mut self) -> Result<Item> {
        let first = self.at;
        let expression = if self.take_sign(b'*') { Expression::AllColumns } else { self.expression()? };
        let source = self.source_of(first);
        let name = if self.take_word("AS") || self.alias_follows() { self.alias()? } else { source };
        Ok(Item { expression, name })
    }

    /// Whether a word that can only be an alias comes next.
    fn alias_follows(&self) -> bool {
        const CLAUSES: [&str; 5] = ["FROM", "WHERE", "ORDER", "LIMIT", "FOR"];
        match self.peek() {
            Some(Kind::Word(word)) => !CLAUSES.iter().any(|clause| word.eq_ignore_ascii_case(clause)),
            Some(Kind::QuotedName(_) | Kind::Text(_)) => true,
            _ => false,
        }
    }

    fn alias(&mut self) -> Result<String> {
        if let Some(Kind::Text(text)) = self.peek() {
            let alias = String::from_utf8_lossy(text).into_owned();
            self.at += 1;
            return Ok(alias);
        }
        self.name()
    }

    fn condition(&mut self) -> Result<Option<Condition>> {
        if !self.take_word("WHERE") {
            return Ok(None);
        }
        let column = self.name()?;
        self.expect_sign(b'=')?;
        Ok(Some(Condition { column, value: self.expression()? }))
    }

    fn order(&mut self) -> Result<Option<Order>> {
        if !self.take_word("ORDER") {
            return Ok(None);
        }
        self.expect_word("BY")?;
        let column = self.name()?;
        let descending = self.take_word("DESC");
        if !descending {
            self.take_word("ASC");
        }
        Ok(Some(Order { column, descending }))
    }

    fn show(&mut self) -> Result<Show> {
        for scope in ["GLOBAL", "SESSION", "FULL", "ALL"] {
            self.take_word(scope);
        }
        let subject = self.word()?.to_ascii_uppercase();
        match subject.as_str() {
            "VARIABLES" => Ok(Show::Variables { like: self.like()? }),
            "STATUS" => Ok(Show::Status { like: self.like()? }),
            "DATABASES" | "SCHEMAS" => Ok(Show::Databases),
            "TABLES" => Ok(Show::Tables),
            "WARNINGS" | "ERRORS" => Ok(Show::Warnings),
            "PROCESSLIST" => Ok(Show::ProcessList),
            "REPLICA" | "SLAVE" | "SLAVES" | "REPLICAS" => {
                self.expect_word("STATUS")?;
                Ok(Show::ReplicaStatus)
            }
            _ => {
                self.at -= 1;
                Err(self.error())
            }
        }
    }

    fn like(&mut self) -> Result<Option<Vec<u8>>> {
        if self.take_word("LIKE") {
            return self.text().map(Some);
        }
        // `SHOW VARIABLES WHERE Variable_name = 'x'`, the form some drivers use.
        if self.take_word("WHERE") {
            self.expect_word("VARIABLE_NAME")?;
            self.expect_sign(b'=')?;
            return self.text().map(Some);
        }
        Ok(None)
    }

    fn set(&mut self) -> Result<Vec<Assignment>> {
        let ignored = Assignment { target: Target::Ignored, value: Expression::Null };
        if self.take_word("NAMES") {
            self.value_of_set()?;
            if self.take_word("COLLATE") {
                self.value_of_set()?;
            }
            return Ok(vec![ignored]);
        }
        if self.take_word("CHARACTER") {
            self.expect_word("SET")?;
            self.value_of_set()?;
            return Ok(vec![ignored]);
        }
        if self.next_words_are(&["TRANSACTION"]) || self.next_words_are(&["SESSION", "TRANSACTION"]) {
            return Ok(vec![self.then_skip_words(ignored)]);
        }
        self.list(Self::assignment)
    }

    fn assignment(&mut self) -> Result<Assignment> {
        let target = self.target()?;
        self.take_sign(b':');
        self.expect_sign(b'=')?;
        Ok(Assignment { target, value: self.value_of_set()? })
    }

    fn target(&mut self) -> Result<Target> {
        if self.take_sign(b'@') {
            if !self.take_sign(b'@') {
                return self.name().map(Target::User);
            }
            let (name, global) = self.scoped_name()?;
            return Ok(if global { Target::Global(name) } else { Target::Session(name) });
        }
        if self.take_word("GLOBAL") {
            return self.name().map(Target::Global);
        }
        self.take_word("SESSION");
        self.name().map(|name| Target::Session(name.to_ascii_lowercase()))
    }

    /// In a SET a bare word is a value too: `SET autocommit = ON`, `SET NAMES utf8mb4`.
    fn value_of_set(&mut self) -> Result<Expression> {
        match self.expression()? {
            Expression::Column(word) => Ok(Expression::Text(word.into_bytes())),
            other => Ok(other),
        }
    }

    fn create(&mut self) -> Result<Definition> {
        if self.take_word("DATABASE") || self.take_word("SCHEMA") {
            let if_not_exists = self.take_if_not_exists()?;
            let name = self.name()?;
            self.skip_rest();
            return Ok(Definition::CreateDatabase { name, if_not_exists });
        }
        self.expect_word("TABLE")?;
        let if_not_exists = self.take_if_not_exists()?;
        let table = self.table()?;
        self.expect_sign(b'(')?;
        let mut columns = Vec::new();
        loop {
            if let Some(column) = self.column_definition()? {
                columns.push(column);
            }
            if !self.take_sign(b',') {
                break;
            }
        }
        self.expect_sign(b')')?;
        self.skip_rest();
        Ok(Definition::CreateTable { table, columns, if_not_exists })
    }

    /// The column's name; `None` for a key. Its type and attributes are passed over: values keep their own type.
    fn column_definition(&mut self) -> Result<Option<String>> {
        const KEYS: [&str; 5] = ["PRIMARY", "KEY", "INDEX", "UNIQUE", "CONSTRAINT"];
        let is_key =
            matches!(self.peek(), Some(Kind::Word(word)) if KEYS.iter().any(|key| word.eq_ignore_ascii_case(key)));
        let name = self.name()?;
        let mut open = 0_usize;
        while let Some(kind) = self.peek() {
            match kind {
                Kind::Sign(b'(') => open += 1,
                Kind::Sign(b')') if open > 0 => open -= 1,
                Kind::Sign(b')' | b',') if open == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        Ok((!is_key).then_some(name))
    }

    fn drop_object(&mut self) -> Result<Definition> {
        let is_database = self.take_word("DATABASE") || self.take_word("SCHEMA");
        if !is_database {
            self.expect_word("TABLE")?;
        }
        let if_exists = self.take_word("IF");
        if if_exists {
            self.expect_word("EXISTS")?;
        }
        if is_database {
            return Ok(Definition::DropDatabase { name: self.name()?, if_exists });
        }
        Ok(Definition::DropTable { table: self.table()?, if_exists })
    }

    fn insert(&mut self) -> Result<Statement> {
        self.take_word("INTO");
        let table = self.table()?;
        let columns = if self.take_sign(b'(') {
            let columns = self.list(Self::name)?;
            self.expect_sign(b')')?;
            Some(columns)
        } else {
            None
        };
        if !self.take_word("VALUES") {
            self.expect_word("VALUE")?;
        }
        let rows = self.list(Self::row)?;
        Ok(Statement::Insert { table, columns, rows })
    }

    fn row(&mut self) -> Result<Vec<Expression>> {
        self.expect_sign(b'(')?;
        let values = self.list(Self::expression)?;
        self.expect_sign(b')')?;
        Ok(values)
    }

    fn update(&mut self) -> Result<Statement> {
        let table = self.table()?;
        self.expect_word("SET")?;
        let changes = self.list(|parser| {
            let column = parser.name()?;
            parser.expect_sign(b'=')?;
            Ok((column, parser.expression()?))
        })?;
        Ok(Statement::Update { table, changes, condition: self.condition()? })
    }

    fn kill(&mut self) -> Result<Statement> {
        if !self.take_word("HARD") {
            self.take_word("SOFT");
        }
        let query_only = self.take_word("QUERY");
        if !query_only {
            self.take_word("CONNECTION");
        }
        self.take_word("ID");
        Ok(Statement::Kill { id: self.expression()?, query_only })
    }

    fn expression(&mut self) -> Result<Expression> {
        if self.take_sign(b'?') {
            self.parameter_count += 1;
            return Ok(Expression::Parameter(self.parameter_count - 1));
        }
        if self.take_sign(b'-') {
            return match self.numeric()? {
                Expression::Integer(number) => Ok(Expression::Integer(-number)),
                _ => Err(self.error()),
            };
        }
        if self.take_sign(b'@') {
            return self.variable();
        }
        if self.take_sign(b'(') {
            return self.subquery();
        }
        match self.peek() {
            Some(Kind::Text(_)) => self.text().map(Expression::Text),
            Some(Kind::Number(_)) => self.numeric(),
            Some(Kind::Word(word)) if word.eq_ignore_ascii_case("NULL") => {
                self.at += 1;
                Ok(Expression::Null)
            }
            _ => self.column_or_call(),
        }
    }

    /// One of the two that a health check asks with, behind its parenthesis.
    fn subquery(&mut self) -> Result<Expression> {
        self.expect_word("SELECT")?;
        let expression = match self.take_word("VARIABLE_VALUE") {
            true => {
                self.expect_table("global_variables")?;
                self.expect_words(&["WHERE", "VARIABLE_NAME"])?;
                self.expect_sign(b'=')?;
                let name = self.text()?;
                Expression::GlobalVariable(String::from_utf8_lossy(&name).to_ascii_lowercase())
            }
            false => Expression::StatusLines(self.status_lines()?),
        };
        self.expect_sign(b')')?;
        Ok(expression)
    }

    fn status_lines(&mut self) -> Result<StatusLines> {
        self.expect_word("GROUP_CONCAT")?;
        self.expect_sign(b'(')?;
        let line = self.list(Self::expression)?;
        self.expect_words(&["ORDER", "BY", "VARIABLE_NAME"])?;
        self.expect_sign(b'=')?;
        let last = self.text()?;
        self.expect_word("SEPARATOR")?;
        let separator = self.text()?;
        let column = |name: &str| Expression::Column(name.into());
        if line != [column("variable_name"), Expression::Text(b"=".into()), column("variable_value")] {
            return Err(self.error());
        }
        self.expect_sign(b')')?;
        self.expect_table("global_status")?;
        self.expect_words(&["WHERE", "VARIABLE_NAME", "IN"])?;
        self.expect_sign(b'(')?;
        let names = self.list(Self::text)?;
        self.expect_sign(b')')?;
        Ok(StatusLines { names, last, separator })
    }

    /// `FROM schema.name`, of whichever schema it is in this product.
    fn expect_table(&mut self, name: &str) -> Result<()> {
        self.expect_word("FROM")?;
        if self.table()?.eq_ignore_ascii_case(name) { Ok(()) } else { Err(self.error()) }
    }

    /// A number that is no integer stays the text it was written as.
    fn numeric(&mut self) -> Result<Expression> {
        let Some(Kind::Number(digits)) = self.peek() else {
            return Err(self.error());
        };
        let expression = match digits.parse() {
            Ok(number) => Expression::Integer(number),
            Err(_) => Expression::Text(digits.clone().into_bytes()),
        };
        self.at += 1;
        Ok(expression)
    }

    /// Behind the first `@`.
    fn variable(&mut self) -> Result<Expression> {
        if !self.take_sign(b'@') {
            return self.name().map(Expression::UserVariable);
        }
        let (name, global) = self.scoped_name()?;
        Ok(Expression::SystemVariable { name, global })
    }

    /// `global.x`, `session.x` or `x`: the name in lower case, and whether the global value is meant.
    fn scoped_name(&mut self) -> Result<(String, bool)> {
        let first = self.name()?.to_ascii_lowercase();
        if !self.take_sign(b'.') {
            return Ok((first, false));
        }
        Ok((self.name()?.to_ascii_lowercase(), first == "global"))
    }

    fn column_or_call(&mut self) -> Result<Expression> {
        let name = self.name()?;
        if !self.take_sign(b'(') {
            // CURRENT_USER is the one function that is called without parentheses.
            return Ok(if name.eq_ignore_ascii_case("CURRENT_USER") {
                Expression::Call { function: "CURRENT_USER".into(), arguments: Vec::new() }
            } else {
                Expression::Column(name)
            });
        }
        let function = name.to_ascii_uppercase();
        if function == "COUNT" && self.take_sign(b'*') {
            self.expect_sign(b')')?;
            return Ok(Expression::CountAll);
        }
        if self.depth == NESTING_MAX {
            return Err(self.error());
        }
        self.depth += 1;
        let arguments = if self.peek() == Some(&Kind::Sign(b')')) { Vec::new() } else { self.list(Self::expression)? };
        self.depth -= 1;
        self.expect_sign(b')')?;
        Ok(Expression::Call { function, arguments })
    }

    /// `name` or `database.name`, of which the last part counts: one store, one set of tables.
    fn table(&mut self) -> Result<String> {
        let first = self.name()?;
        if self.take_sign(b'.') { self.name() } else { Ok(first) }
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.take_sign(b',') {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn take_if_not_exists(&mut self) -> Result<bool> {
        if !self.take_word("IF") {
            return Ok(false);
        }
        self.expect_word("NOT")?;
        self.expect_word("EXISTS")?;
        Ok(true)
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn word(&mut self) -> Result<String> {
        match self.peek() {
            Some(Kind::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.error()),
        }
    }

    fn name(&mut self) -> Result<String> {
        if let Some(Kind::QuotedName(name)) = self.peek() {
            let name = name.clone();
            self.at += 1;
            return Ok(name);
        }
        self.word()
    }

    fn text(&mut self) -> Result<Vec<u8>> {
        match self.peek() {
            Some(Kind::Text(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.error()),
        }
    }

    fn number(&mut self) -> Result<u64> {
        match self.peek() {
            Some(Kind::Number(digits)) => {
                let number = digits.parse().map_err(|_| self.error())?;
                self.at += 1;
                Ok(number)
            }
            _ => Err(self.error()),
        }
    }

    fn next_words_are(&self, words: &[&str]) -> bool {
        let next = self.tokens.iter().skip(self.at).map(|token| &token.kind);
        let matching = next
            .zip(words)
            .filter(|(kind, word)| matches!(kind, Kind::Word(found) if found.eq_ignore_ascii_case(word)));
        matching.count() == words.len()
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.next_words_are(&[word]);
        self.at += usize::from(found);
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.take_word(word) { Ok(()) } else { Err(self.error()) }
    }

    fn expect_words(&mut self, words: &[&str]) -> Result<()> {
        words.iter().try_for_each(|word| self.expect_word(word))
    }

    fn take_sign(&mut self, sign: u8) -> bool {
        let found = self.peek() == Some(&Kind::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn expect_sign(&mut self, sign: u8) -> Result<()> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.error()) }
    }

    fn expect_end(&self) -> Result<()> {
        match self.peek() {
            None | Some(Kind::Sign(b';')) => Ok(()),
            Some(_) => Err(self.error()),
        }
    }

    /// Passes words that change nothing here, such as the READ ONLY of START TRANSACTION or the WORK of COMMIT.
    fn then_skip_words<T>(&mut self, value: T) -> T {
        while matches!(self.peek(), Some(Kind::Word(_) | Kind::Sign(b','))) {
            self.at += 1;
        }
        value
    }

    /// Passes everything up to the statement's end: table and database options.
    fn skip_rest(&mut self) {
        while self.peek().is_some_and(|kind| *kind != Kind::Sign(b';')) {
            self.at += 1;
        }
    }

    fn source_of(&self, first: usize) -> String {
        let start = self.tokens[first].start;
        let end = self.tokens[self.at - 1].end;
        String::from_utf8_lossy(&self.text[start..end]).into_owned()
    }

    fn error(&self) -> SyntaxError {
        SyntaxError { at: self.tokens.get(self.at).map_or(self.text.len(), |token| token.start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Statement {
        let mut all = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: stopped at {}", error.at));
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0).statement
    }

    fn item(expression: Expression, name: &str) -> Item {
        Item { expression, name: name.into() }
    }

    fn variable(name: &str) -> Expression {
        Expression::SystemVariable { name: name.into(), global: false }
    }

    #[test]
    fn a_column_is_named_by_its_alias_or_its_source() {
        let Statement::Select(select) =
            one("SELECT @@server_id, @@global.read_only AS ro, USER() u, @@port 'p' LIMIT 1")
        else {
            panic!("a SELECT");
        };
        let user = Expression::Call { function: "USER".into(), arguments: vec![] };
        let read_only = Expression::SystemVariable { name: "read_only".into(), global: true };
        let expected = [
            item(variable("server_id"), "@@server_id"),
            item(read_only, "ro"),
            item(user, "u"),
            item(variable("port"), "p"),
        ];
        assert_eq!(select.items, expected);
    }

    #[test]
    fn what_drivers_send_at_connect_is_understood() {
        let statements = [
            "SELECT @@max_allowed_packet,@@wait_timeout,@@socket",
            "select @@version_comment limit 1",
            "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
            "SET NAMES 'utf8mb4'",
            "SET AUTOCOMMIT = 0",
            "SET sql_mode='STRICT_TRANS_TABLES', time_zone = '+00:00'",
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET @@session.autocommit = OFF",
            "/*!40101 SET @x := 1 */",
            "SHOW VARIABLES LIKE 'max_allowed_packet'",
            "SHOW GLOBAL STATUS LIKE 'wsrep%'",
            "SHOW ALL SLAVES STATUS",
            "START TRANSACTION READ ONLY, WITH CONSISTENT SNAPSHOT",
        ];
        for statement in statements {
            one(statement);
        }
    }

    #[test]
    fn a_table_is_read_by_its_column_names() {
        let expected = Statement::Define(Definition::CreateTable {
            table: "t".into(),
            columns: vec!["id".into(), "price".into(), "note".into()],
            if_not_exists: true,
        });
        let text = "CREATE TABLE IF NOT EXISTS shop.t (id INT AUTO_INCREMENT PRIMARY KEY, price DECIMAL(10,2), \
                    note VARCHAR(20) DEFAULT 'a,b', KEY by_price (price, note)) ENGINE=InnoDB";
        assert_eq!(one(text), expected);
    }

    #[test]
    fn statements_are_separated_by_semicolons_only_outside_quotes() {
        let all = parse(b"SELECT 1; SELECT ';' ;; SELECT ?;").expect("three statements");
        assert_eq!(all.iter().map(|parsed| parsed.parameter_count).collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!(parse(b" -- nothing").expect("a comment")[0].statement, Statement::Nothing);
    }

    #[test]
    fn an_error_points_at_the_first_word_that_does_not_fit() {
        assert_eq!(parse(b"FLY ME"), Err(SyntaxError { at: 0 }));
        assert_eq!(parse(b"SELECT 1 FROM t JOIN u"), Err(SyntaxError { at: 16 }));
        assert_eq!(parse(b"INSERT INTO t"), Err(SyntaxError { at: 13 }));
    }

    #[test]
    fn nesting_and_statement_count_are_bounded() {
        let deep = format!("SELECT {}1{}", "F(".repeat(NESTING_MAX + 1), ")".repeat(NESTING_MAX + 1));
        assert!(parse(deep.as_bytes()).is_err());
        let deepest = format!("SELECT {}1{}", "F(".repeat(NESTING_MAX), ")".repeat(NESTING_MAX));
        assert!(parse(deepest.as_bytes()).is_ok());
        assert!(parse("SELECT 1;".repeat(STATEMENTS_MAX).as_bytes()).is_ok());
        assert!(parse("SELECT 1;".repeat(STATEMENTS_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn kill_names_a_connection_or_its_query() {
        assert_eq!(one("KILL 7"), Statement::Kill { id: Expression::Integer(7), query_only: false });
        assert_eq!(one("kill hard query id 7"), Statement::Kill { id: Expression::Integer(7), query_only: true });
    }
}
