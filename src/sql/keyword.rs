//! Words that mean something behind the first word of a statement.

use super::words::WordTable;

/// What a bare word means to the search for what makes a read unsafe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    /// Behind it stands a name, or what a CAST makes; never a call.
    As,
    With,
    /// SELECT, VALUES, TABLE: what comes behind the common table expressions.
    Query,
    For,
    Update,
    Share,
    Connection,
    Into,
    /// Functions of these names exist; without a parenthesis they are verbs.
    InsertOrReplace,
    Delete,
    Lock,
    Procedure,
    Analyze,
    NextOrPrevious,
    Value,
    /// CURRENT_USER and CURRENT_ROLE, callable without parentheses.
    Current,
    /// A parenthesis may follow that is not a function's.
    Structural,
}

/// The keyword that a bare word is.
pub(super) fn find(word: &[u8]) -> Option<Keyword> {
    KEYWORDS.find(word)
}

impl Keyword {
    /// Whether the word says something by standing where it does, and not only before a parenthesis or behind a word
    /// that says something.
    const fn tells(self) -> bool {
        match self {
            Keyword::Query | Keyword::Share | Keyword::Connection | Keyword::Value | Keyword::Structural => false,
            Keyword::As | Keyword::With | Keyword::For | Keyword::Update | Keyword::Into => true,
            Keyword::InsertOrReplace | Keyword::Delete | Keyword::Lock | Keyword::Procedure => true,
            Keyword::Analyze | Keyword::NextOrPrevious | Keyword::Current => true,
        }
    }
}

impl Keyword {
    /// Whether it tells also where nothing is asked but the effects on the session.
    pub(super) fn tells_of_session(self) -> bool {
        matches!(self, Keyword::As | Keyword::With | Keyword::Current)
    }
}

/// The keyword that a word is, if it has to be read as more than a name.
#[inline]
pub(super) fn find_telling(word: &[u8]) -> Option<Keyword> {
    if MAY_TELL[outline(word)] { find(word).filter(|keyword| keyword.tells()) } else { None }
}

/// Whether a word that tells has this first byte and this length, so that few words have to be looked at.
#[inline]
pub(super) fn may_tell(first: u8, length: usize) -> bool {
    TELLING_LENGTHS[usize::from(first & 31)] & (1_u32 << (length & 31)) != 0
}

/// By the outline of a word: whether one that tells has it.
static MAY_TELL: [bool; 256] = {
    let mut may_tell = [false; 256];
    let mut index = 0;
    while let Some((word, keyword)) = KEYWORDS.entry(index) {
        may_tell[outline(word.as_bytes())] |= keyword.tells();
        index += 1;
    }
    may_tell
};

/// A number that is the same for both cases: of the first letter, the last, and the length.
#[inline]
const fn outline(word: &[u8]) -> usize {
    let (first, last) = (word[0] as usize & 31, word[word.len() - 1] as usize & 31);
    ((first * 8) ^ last ^ (word.len() * 32)) & 255
}

/// For each first letter the lengths of the words that tell, one bit each.
static TELLING_LENGTHS: [u32; 32] = {
    let mut lengths = [0; 32];
    let mut index = 0;
    while let Some((word, keyword)) = KEYWORDS.entry(index) {
        if keyword.tells() {
            lengths[word.as_bytes()[0] as usize & 31] |= 1 << (word.len() & 31);
        }
        index += 1;
    }
    lengths
};

/// Reserved words, which no stored function can be called by, and words that are no calls by the grammar of both.
pub(super) static KEYWORDS: WordTable<Keyword, 512> = WordTable::new(&[
    ("as", Keyword::As),
    ("with", Keyword::With),
    ("select", Keyword::Query),
    ("values", Keyword::Query),
    ("table", Keyword::Query),
    ("for", Keyword::For),
    ("update", Keyword::Update),
    ("share", Keyword::Share),
    ("connection", Keyword::Connection),
    ("into", Keyword::Into),
    ("insert", Keyword::InsertOrReplace),
    ("replace", Keyword::InsertOrReplace),
    ("delete", Keyword::Delete),
    ("lock", Keyword::Lock),
    ("procedure", Keyword::Procedure),
    ("analyze", Keyword::Analyze),
    ("next", Keyword::NextOrPrevious),
    ("previous", Keyword::NextOrPrevious),
    ("value", Keyword::Value),
    ("current_user", Keyword::Current),
    ("current_role", Keyword::Current),
    // Operators.
    ("and", Keyword::Structural),
    ("or", Keyword::Structural),
    ("xor", Keyword::Structural),
    ("not", Keyword::Structural),
    ("in", Keyword::Structural),
    ("is", Keyword::Structural),
    ("like", Keyword::Structural),
    ("rlike", Keyword::Structural),
    ("regexp", Keyword::Structural),
    ("between", Keyword::Structural),
    ("div", Keyword::Structural),
    ("binary", Keyword::Structural),
    ("interval", Keyword::Structural),
    ("exists", Keyword::Structural),
    ("any", Keyword::Structural),
    ("some", Keyword::Structural),
    ("all", Keyword::Structural),
    ("case", Keyword::Structural),
    ("when", Keyword::Structural),
    ("then", Keyword::Structural),
    ("else", Keyword::Structural),
    ("match", Keyword::Structural),
    // Clauses.
    ("distinct", Keyword::Structural),
    ("distinctrow", Keyword::Structural),
    ("high_priority", Keyword::Structural),
    ("straight_join", Keyword::Structural),
    ("sql_small_result", Keyword::Structural),
    ("sql_big_result", Keyword::Structural),
    ("sql_calc_found_rows", Keyword::Structural),
    ("from", Keyword::Structural),
    ("join", Keyword::Structural),
    ("on", Keyword::Structural),
    ("using", Keyword::Structural),
    ("partition", Keyword::Structural),
    ("index", Keyword::Structural),
    ("key", Keyword::Structural),
    ("where", Keyword::Structural),
    ("group", Keyword::Structural),
    ("by", Keyword::Structural),
    ("having", Keyword::Structural),
    ("over", Keyword::Structural),
    ("limit", Keyword::Structural),
    ("union", Keyword::Structural),
    ("except", Keyword::Structural),
    ("intersect", Keyword::Structural),
    ("row", Keyword::Structural),
    ("explain", Keyword::Structural),
    ("describe", Keyword::Structural),
    ("desc", Keyword::Structural),
    ("to", Keyword::Structural),
    // Types, as a CONVERT or the columns of a JSON_TABLE name them.
    ("varchar", Keyword::Structural),
    ("varbinary", Keyword::Structural),
    ("decimal", Keyword::Structural),
    ("numeric", Keyword::Structural),
    ("dec", Keyword::Structural),
    ("int", Keyword::Structural),
    ("integer", Keyword::Structural),
    ("bigint", Keyword::Structural),
    ("smallint", Keyword::Structural),
    ("mediumint", Keyword::Structural),
    ("tinyint", Keyword::Structural),
    ("float", Keyword::Structural),
    ("double", Keyword::Structural),
    ("real", Keyword::Structural),
]);
