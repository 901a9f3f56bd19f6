//! What is a document, what is none, and what each value is.

use super::*;

fn error(body: &str) -> XmlError {
    Document::parse(body.as_bytes()).expect_err(body)
}

fn value(body: &str) -> String {
    Document::parse(body.as_bytes()).expect(body).get("a").expect(body).to_owned()
}

#[test]
fn values_are_what_xml_says_they_are() {
    assert_eq!(value("<xml><a>1</a></xml>"), "1");
    assert_eq!(value("<xml><a><![CDATA[ <b>&amp; ]]></a></xml>"), " <b>&amp; ");
    assert_eq!(value("<xml><a>x &lt;&#65;&#x4e2d;&quot; </a></xml>"), "x <A中\" ");
    assert_eq!(value("<xml><a>1<![CDATA[2]]>3<![CDATA[]]>&amp;</a></xml>"), "123&");
    assert_eq!(value("<xml><a>x\r\ny\rz&#13;</a></xml>"), "x\ny\nz\r");
    assert_eq!(value("<xml><a ></a ></xml>"), "");
    assert_eq!(value("<xml><a/></xml>"), "");
    assert_eq!(value("<xml><b /><a \n/></xml>"), "");
    assert_eq!(
        value("\u{feff} <?xml version='1.0' encoding='utf-8'?><!--c--><xml><!--c--><a>1</a></xml>\n"),
        "1"
    );
}

#[test]
fn names_are_found_behind_every_kind_of_tag() {
    let document =
        Document::parse(b"<xml>\n<a_1>x</a_1><b/><c />\t<d e=''>".split_at(32).0).expect_err("cut");
    assert_eq!(document, XmlError::Invalid);
    let document = Document::parse("<xml> <名>1</名><b/><c-d ></c-d></xml>".as_bytes()).unwrap();
    assert_eq!(document.iter().collect::<Vec<_>>(), [("名", "1"), ("b", ""), ("c-d", "")]);
    assert_eq!(document.get("e"), None);
    assert_eq!(format!("{document:?}"), r#"Document ["名", "b", "c-d"]"#);
}

#[test]
fn faults_are_told_apart() {
    assert_eq!(error(""), XmlError::Empty);
    assert_eq!(error("\u{feff}\n"), XmlError::Empty);
    assert_eq!(error(" {\"id\":1}"), XmlError::Json);
    assert_eq!(error("text"), XmlError::Invalid);
    assert_eq!(error("<xml/>"), XmlError::EmptyDocument);
    assert_eq!(error("<root><a>1</a></root>"), XmlError::UnexpectedRoot);
    assert_eq!(error("<xml><a>1</a><a>1</a></xml>"), XmlError::DuplicateField);
    assert_eq!(error("<xml><a><b/></a></xml>"), XmlError::Nested);
    assert_eq!(error("<xml>x<a>1</a></xml>"), XmlError::UnexpectedText);
    assert_eq!(error("<xml><![CDATA[ ]]><a>1</a></xml>"), XmlError::UnexpectedText);
    assert_eq!(error("<xml>&#32;<a>1</a></xml>"), XmlError::UnexpectedText);
    assert_eq!(error("<!DOCTYPE xml><xml><a>1</a></xml>"), XmlError::Dtd);
    assert_eq!(error("<?xml version='1.0' encoding='GBK'?><xml><a>1</a></xml>"), XmlError::Encoding);
    assert_eq!(error("<\0x\0m\0l\0>\0"), XmlError::Encoding);
    assert_eq!(Document::parse(b"<xml><a>\xff</a></xml>").unwrap_err(), XmlError::Encoding);
}

#[test]
fn xml_without_use_here_is_refused() {
    for body in [
        "<xml><a>1</a>",
        "<xml><a>1</a></xml><xml><a>1</a></xml>",
        "<xml><a>1</a></xml>x",
        "<xml><a b='1'>1</a></xml>",
        "<xml c='1'><a>1</a></xml>",
        "<xml><?pi?><a>1</a></xml>",
        "<xml><a>1<!-- c -->2</a></xml>",
        "<xml><a>&unknown;</a></xml>",
        "<xml><a>&#1;</a></xml>",
        "<xml><a>\u{1}</a></xml>",
        "<xml><a>x]]>y</a></xml>",
        "<xml><a>1</b></xml>",
        "<xml><a=b>1</a=b></xml>",
        "<xml><n:a>1</n:a></xml>",
        "<?xml version='1.1'?><xml><a>1</a></xml>",
        "<xml><?xml version='1.0'?><a>1</a></xml>",
        "</xml>",
    ] {
        assert_eq!(error(body), XmlError::Invalid, "{body}");
    }
}

#[test]
fn size_and_number_of_fields_are_bounded() {
    let fields = |count: usize| write((0..count).map(|index| (format!("f{index}"), "1")));
    assert_eq!(Document::parse(fields(FIELDS_MAX).as_bytes()).unwrap().len(), FIELDS_MAX);
    assert_eq!(error(&fields(FIELDS_MAX + 1)), XmlError::TooManyFields);
    let smallest = "<xml><a>1</a></xml>";
    let padded = |bytes: usize| smallest.to_owned() + &" ".repeat(bytes - smallest.len());
    assert_eq!(value(&padded(BODY_BYTES_MAX)), "1");
    assert_eq!(error(&padded(BODY_BYTES_MAX + 1)), XmlError::TooLarge);
}
