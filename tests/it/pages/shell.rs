//! Lines of shell as pages print them: where one ends, what it says beside, and which programs it starts.

/// One command as somebody would paste it, however many lines and pipes it has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// As it stands, without what is said beside it.
    pub text: String,
    /// The comment at its end; where there is none, the lines of comment above.
    pub comment: String,
    /// Every program that it starts, also within quotes, with its arguments.
    pub programs: Vec<Vec<String>>,
}

/// The statements of a block, in order.
pub fn statements(block: &str) -> Vec<Statement> {
    let mut reader = Reader { letters: block.chars().collect(), ..Reader::default() };
    let (mut statements, mut above) = (Vec::new(), String::new());
    while reader.at < reader.letters.len() {
        let begin = reader.at;
        reader.list(End::OfLine);
        let comment = std::mem::take(&mut reader.comment);
        let end = reader.code_ended.take().unwrap_or(reader.at);
        let text: String = reader.letters[begin..end].iter().collect();
        let programs = std::mem::take(&mut reader.programs);
        match (text.trim(), comment.is_empty()) {
            ("", true) => above.clear(),
            ("", false) => above = format!("{above} {comment}").trim().to_owned(),
            (text, is_bare) => {
                let comment = if is_bare { above.clone() } else { comment };
                statements.push(Statement { text: text.to_owned(), comment, programs });
                above.clear();
            }
        }
    }
    statements
}

/// Where a list of commands ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    OfLine,
    Parenthesis,
}

#[derive(Default)]
struct Reader {
    letters: Vec<char>,
    at: usize,
    programs: Vec<Vec<String>>,
    comment: String,
    /// Where the last comment began.
    code_ended: Option<usize>,
    /// The word that ends what is given to a program on the lines below.
    here: Option<String>,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.letters.get(self.at + ahead).copied()
    }

    /// Reads commands up to the end, and it too.
    fn list(&mut self, end: End) {
        let mut program = Vec::new();
        while let Some(letter) = self.peek(0) {
            let next = self.peek(1);
            match letter {
                '\n' => {
                    self.at += 1;
                    self.pass_what_is_here();
                    self.started(&mut program);
                    if end == End::OfLine {
                        return;
                    }
                }
                ')' => {
                    self.at += 1;
                    break;
                }
                '(' => {
                    self.at += 1;
                    self.list(End::Parenthesis);
                }
                '|' | ';' | '&' => {
                    self.at += 1;
                    self.started(&mut program);
                }
                '#' => self.remark(),
                '\\' if next == Some('\n') => self.at += 2,
                '<' if next == Some('<') => {
                    self.at += 2;
                    self.here = Some(self.word().trim_start_matches('-').to_owned());
                }
                '>' | '<' if next != Some('(') => {
                    self.at += 1;
                    while self.peek(0) == Some(' ') {
                        self.at += 1;
                    }
                    self.word();
                }
                letter if letter.is_whitespace() => self.at += 1,
                _ => {
                    let word = self.word();
                    program.push(word);
                }
            }
        }
        self.started(&mut program);
    }

    /// Keeps a program and its arguments; variables that are set before it are not part of it.
    fn started(&mut self, program: &mut Vec<String>) {
        let words = std::mem::take(program);
        let program: Vec<String> = words.into_iter().skip_while(|word| is_assignment(word)).collect();
        if !program.is_empty() {
            self.programs.push(program);
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(letter) = self.peek(0) {
            match letter {
                '\'' | '"' => self.quoted(letter, &mut word),
                '$' | '<' if self.peek(1) == Some('(') => self.substituted(&mut word),
                '\\' => {
                    word.extend(self.peek(1).filter(|letter| *letter != '\n'));
                    self.at += 2;
                }
                '|' | ';' | '&' | '(' | ')' | '<' | '>' => break,
                letter if letter.is_whitespace() => break,
                letter => {
                    word.push(letter);
                    self.at += 1;
                }
            }
        }
        word
    }

    fn quoted(&mut self, quote: char, word: &mut String) {
        self.at += 1;
        while let Some(letter) = self.peek(0) {
            match letter {
                letter if letter == quote => {
                    self.at += 1;
                    return;
                }
                '$' if quote == '"' && self.peek(1) == Some('(') => self.substituted(word),
                letter => {
                    word.push(letter);
                    self.at += 1;
                }
            }
        }
        panic!("a quote is not closed: {word}");
    }

    fn substituted(&mut self, word: &mut String) {
        self.at += 2;
        self.list(End::Parenthesis);
        word.push('…');
    }

    fn remark(&mut self) {
        self.code_ended = Some(self.at);
        let rest = self.rest_of_line();
        rest.trim_start_matches('#').trim().clone_into(&mut self.comment);
    }

    /// Passes over the lines that a program is given up to a word.
    fn pass_what_is_here(&mut self) {
        let Some(word) = self.here.take() else { return };
        while self.at < self.letters.len() {
            let line = self.rest_of_line();
            self.at += 1;
            if line.trim() == word {
                return;
            }
        }
    }

    fn rest_of_line(&mut self) -> String {
        let rest: String = self.letters[self.at..].iter().take_while(|letter| **letter != '\n').collect();
        self.at += rest.chars().count();
        rest
    }
}

fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    let belongs = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    !name.is_empty() && name.chars().all(belongs)
}

#[test]
fn a_line_of_shell_is_taken_apart_as_the_shell_does() {
    let block = "\
# of both
A=$(one -x 'a b' \"$(two)\")   # beside
(umask 077; three > file) && four \\
    --long
five <(six -) <<END | seven
not a program
END
";
    let found = statements(block);
    let programs = |at: usize| found[at].programs.iter().map(|words| words.join(" ")).collect::<Vec<_>>();
    assert_eq!(programs(0), ["two", "one -x a b …"]);
    assert_eq!(found[0].comment, "beside");
    assert_eq!(programs(1), ["umask 077", "three", "four --long"]);
    assert_eq!(programs(2), ["six -", "five …", "seven"]);
    assert_eq!(found.len(), 3);
}
