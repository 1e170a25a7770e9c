//! Links between the documents, and the index.

use crate::pages::page::Page;
use crate::pages::page::pages;
use crate::support::process::repository;

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let mut links = 0;
    let others = ["ARCHITECTURE.md", "CHANGELOG.md"].map(Page::read);
    for page in pages().into_iter().chain(others) {
        let directory = repository(&page.name).parent().unwrap().to_owned();
        for link in page.links().iter().filter(|link| !link.starts_with("https://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if path.is_empty() { repository(&page.name) } else { directory.join(path) };
            assert!(file.exists(), "{}: {link}", page.name);
            let anchors = || Page::at(&file).anchors();
            assert!(anchor.is_empty() || anchors().contains(anchor), "{}: {link}", page.name);
            links += 1;
        }
    }
    assert!(links > 150, "{links}");
}

#[test]
fn the_index_names_every_page_once() {
    let index = Page::read("docs/README.md").links();
    for page in pages() {
        let Some(name) = page.name.strip_prefix("docs/") else { continue };
        let times = index.iter().filter(|link| *link == name).count();
        assert_eq!(times, usize::from(name != "README.md"), "{name}");
    }
}
