//! The picture of a [`Model`].

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState, Wrap};
use supervisor_core::Level;

use super::model::{Action, Model, Pane};
use crate::cli::escape::escape;
use crate::cli::human::seconds;
use crate::cli::output::{Ink, Look};
use crate::cli::table::{Grid, card, counts, grid, ink};

/// Rows of the table that stay when there is a pane.
const LEAST_ROWS: u16 = 6;

/// Draws everything. Gives how many rows of the table fit.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    model: &Model,
    place: &mut TableState,
    look: Look,
) -> usize {
    let below = if model.pane == Pane::Nothing {
        Constraint::Length(0)
    } else {
        Constraint::Percentage(50)
    };
    let [head, table, pane, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(LEAST_ROWS),
        below,
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(model, look), head);
    rows(frame, model, place, look, table);
    match model.pane {
        Pane::Nothing => {}
        Pane::Log => log(frame, model, pane),
        Pane::Card => details(frame, model, pane),
        Pane::Help => help(frame, pane),
    }
    frame.render_widget(footer(model, look), foot);
    usize::from(table.height.saturating_sub(1))
}

/// `supervisor  1 critical, 3 healthy`, or why that is old.
fn header(model: &Model, look: Look) -> Line<'static> {
    let mut spans = vec![Span::styled(
        "supervisor  ",
        Style::new().add_modifier(Modifier::BOLD),
    )];
    if let Some((since, why)) = &model.lost {
        spans.push(Span::styled(
            format!("no signal for {}: {why}", seconds(*since as f64)),
            style(Ink::BoldRed, look),
        ));
        return Line::from(spans);
    }
    let counts = counts(&model.all());
    if counts.is_empty() {
        spans.push(Span::raw("no services"));
    }
    for (at, (level, count)) in counts.into_iter().enumerate() {
        if at > 0 {
            spans.push(Span::raw(", "));
        }
        let text = format!("{count} {}", level.as_str());
        spans.push(Span::styled(text, style(ink(level), look)));
    }
    Line::from(spans)
}

fn rows(frame: &mut Frame<'_>, model: &Model, place: &mut TableState, look: Look, area: Rect) {
    let Grid { columns, rows } = grid(&model.rows(), Some(area.width));
    let heading = columns.iter().map(|column| {
        let text = Text::from(column.heading);
        Cell::from(if column.right {
            text.right_aligned()
        } else {
            text
        })
    });
    let widths = columns.iter().enumerate().map(|(at, column)| {
        if at + 1 == columns.len() {
            Constraint::Fill(1)
        } else {
            Constraint::Length(u16::try_from(column.width).unwrap_or(u16::MAX))
        }
    });
    let body = rows.iter().map(|(level, texts)| {
        Row::new(columns.iter().zip(texts).map(|(column, text)| {
            let cell = Text::raw(text.as_str());
            let cell = if column.right {
                cell.right_aligned()
            } else {
                cell
            };
            Cell::from(cell).style(if column.is_level {
                style(ink(*level), look)
            } else if column.is_name && *level >= Level::Degraded {
                Style::new().add_modifier(Modifier::BOLD)
            } else {
                Style::new()
            })
        }))
    });
    place.select(model.cursor());
    let table = Table::new(body, widths)
        .header(Row::new(heading).style(Style::new().add_modifier(Modifier::BOLD)))
        .column_spacing(2)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, place);
}

fn framed(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(title)
}

fn selected(model: &Model) -> String {
    model
        .selected()
        .map_or_else(String::new, |service| escape(&service.name).into_owned())
}

fn log(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let block = framed(format!(" log of {} ", selected(model)));
    let height = usize::from(block.inner(area).height);
    let lines: Vec<Line<'_>> = model.log.last(height).map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn details(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    /// The card as it is written to a file: inks are ratatui's here.
    const PLAIN: Look = Look {
        color: false,
        terminal: true,
        json: false,
    };
    let text = model
        .selected()
        .map_or_else(String::new, |service| card(service, PLAIN));
    let text = Paragraph::new(text)
        .wrap(Wrap { trim: false })
        .block(framed(String::new()));
    frame.render_widget(text, area);
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let mut lines = vec![
        Line::from("↑ ↓ PgUp PgDn Home End   another service"),
        Line::from(
            "/ text Enter             only services whose name, level, tag or reason holds the text; Esc: all",
        ),
        Line::from("Enter or d               everything known of the service"),
        Line::from("l                        what it prints"),
    ];
    lines.extend(
        Action::ALL
            .iter()
            .map(|(key, action)| Line::from(format!("{key:<24} {}", what(*action)))),
    );
    lines.push(Line::from(
        "q                        leave; everything goes on",
    ));
    frame.render_widget(
        Paragraph::new(lines).block(framed(" keys ".to_owned())),
        area,
    );
}

fn what(action: Action) -> &'static str {
    match action {
        Action::Start => "start it",
        Action::Stop => "stop it, with what depends on it",
        Action::Restart => "restart it, past any backoff",
        Action::Nudge => "nudge it as configured",
        Action::Pause => "leave it alone until it is resumed",
        Action::Resume => "watch it again",
        Action::Clear => "lift its quarantine",
    }
}

fn footer(model: &Model, look: Look) -> Line<'static> {
    if let Some((action, name)) = &model.asked {
        let question = format!("{} {name}? y: yes, any other key: no", action.verb());
        return Line::styled(question, style(Ink::Yellow, look));
    }
    if model.typing {
        return Line::from(format!("/{}▏", escape(&model.filter)));
    }
    if let Some(said) = &model.said {
        let ink = if said.failed {
            Ink::BoldRed
        } else {
            Ink::Green
        };
        return Line::styled(said.text.clone(), style(ink, look));
    }
    let mut text = String::new();
    if !model.filter.is_empty() {
        text = format!("only {:?} (Esc: all)   ", model.filter);
    }
    text.push_str("? keys  / filter  d details  l log  r restart  q leave");
    Line::styled(text, style(Ink::Faint, look)).alignment(Alignment::Left)
}

/// The same inks as everywhere else.
fn style(ink: Ink, look: Look) -> Style {
    let style = match ink {
        Ink::Green => Style::new().fg(Color::Green),
        Ink::Yellow => Style::new().fg(Color::Yellow),
        Ink::Magenta => Style::new().fg(Color::Magenta),
        Ink::BoldRed => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        Ink::Faint => Style::new().add_modifier(Modifier::DIM),
        Ink::Bold => Style::new().add_modifier(Modifier::BOLD),
    };
    if look.color {
        style
    } else {
        Style { fg: None, ..style }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent};

    use super::*;
    use crate::cli::api::Service;

    const PLAIN: Look = Look {
        color: false,
        terminal: true,
        json: false,
    };

    fn model() -> Model {
        let service = |name: &str, status: &str, reason: &str| Service {
            name: name.to_owned(),
            status: status.to_owned(),
            state: "running".to_owned(),
            reason: Some(reason.to_owned()),
            ..Service::default()
        };
        let mut model = Model::default();
        model.update(vec![
            service("web", "healthy", ""),
            service("db", "critical", "no pulse for 95 s"),
        ]);
        model
    }

    fn picture(model: &Model, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut place = TableState::new();
        terminal
            .draw(|frame| {
                draw(frame, model, &mut place, PLAIN);
            })
            .unwrap();
        let buffer = terminal.backend().buffer();
        buffer
            .content
            .chunks(usize::from(width))
            .map(|row| {
                row.iter()
                    .map(ratatui::buffer::Cell::symbol)
                    .collect::<String>()
                    .trim_end()
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn the_table_stands_between_the_sum_and_the_keys() {
        let picture = picture(&model(), 100, 8);
        assert_eq!(picture[0], "supervisor  1 critical, 1 healthy");
        assert!(
            picture[1].starts_with("NAME  LEVEL     STATE"),
            "{picture:#?}"
        );
        assert!(
            picture[2].starts_with("db    critical  running"),
            "{picture:#?}"
        );
        assert!(picture[2].ends_with("no pulse for 95 s"), "{picture:#?}");
        assert!(picture[3].starts_with("web"), "{picture:#?}");
        assert!(picture[7].starts_with("? keys"), "{picture:#?}");
    }

    #[test]
    fn a_lost_supervisor_is_said_instead_of_a_sum_that_is_old() {
        let mut model = model();
        model.lost = Some((7, "nobody listens".to_owned()));
        assert_eq!(
            picture(&model, 100, 8)[0],
            "supervisor  no signal for 7 s: nobody listens"
        );
    }

    #[test]
    fn a_question_stands_where_the_keys_were() {
        let mut model = model();
        model.key(KeyEvent::from(KeyCode::Char('r')));
        let picture = picture(&model, 100, 8);
        assert_eq!(picture[7], "restart db? y: yes, any other key: no");
    }

    #[test]
    fn any_pane_at_any_size_is_drawn() {
        for key in ['l', 'd', '?'] {
            let mut model = model();
            model.key(KeyEvent::from(KeyCode::Char(key)));
            for (width, height) in [(1, 1), (3, 2), (40, 5), (80, 24), (300, 80)] {
                picture(&model, width, height);
            }
        }
    }
}
