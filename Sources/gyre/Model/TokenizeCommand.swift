import ArgumentParser
import Models
import Reporting
import Settings

/// `gyre tokenize`: a text as the numbers of a model's tokens, and back.
struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "A text as the numbers of a model's tokens, or such numbers as text.",
    usage: "gyre tokenize MODEL --text TEXT | --file FILE | --decode IDS [options]",
    discussion: """
      The numbers come on one line, joined by commas, as --ids and --decode take them. The \
      token that a sequence begins with is there if the model wants it.
      """)

  @Argument(
    help: ArgumentHelp(
      "A .gguf file, or a folder of Hugging Face with tokenizer.json.", valueName: "model"),
    completion: .file(extensions: ["gguf"]))
  var model: String

  @Option(help: ArgumentHelp("The text.", valueName: "text"))
  var text: String?

  @Option(
    help: ArgumentHelp(
      "A file with it; what is no UTF-8 there becomes U+FFFD.", valueName: "file"),
    completion: .file())
  var file: String?

  @Option(
    help: ArgumentHelp(
      "Instead of a text: numbers of tokens, as 504,3041,436.", valueName: "list"),
    transform: { try parseIntegers($0, in: 0...Int(Int32.max)) })
  var decode: [Int]?

  @Flag(help: "Names of special tokens in the text, as <|im_end|>, are these tokens.")
  var special = false

  @Flag(help: "Leave out the token that a sequence begins with.")
  var noBeginning = false

  @Option(help: "One line, or one JSON object, also with what each token stands for.")
  var report = ReportFormat.text

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions

  func validate() throws {
    guard [text != nil, file != nil, decode != nil].count(where: { $0 }) == 1 else {
      throw ValidationError("Give one of --text, --file and --decode.")
    }
    guard decode == nil || !special && !noBeginning else {
      throw ValidationError(
        "--special and --no-beginning say how a text is read; leave them out with --decode.")
    }
  }

  func run() throws {
    var files = RunFiles(settings: layers)
    try files.read(model, as: "the model")
    try files.read(file, as: "--file")
    let tokenizer = try ModelFile(model).tokenizer()
    let tokens: [Int]
    if let decode {
      if let wrong = decode.first(where: { $0 >= tokenizer.count }) {
        throw UserError.usage(
          "--decode has \(wrong), and '\(model)' has the tokens 0 to \(tokenizer.count - 1).")
      }
      tokens = decode
    } else {
      let bytes = try file.map { try ModelText.bytes(of: $0, option: "--file") }
      tokens = tokenizer.encode(
        bytes ?? Array((text ?? "").utf8), special: special,
        addingBeginning: noBeginning ? false : nil)
    }
    let decoded = String(decoding: tokenizer.decode(tokens), as: UTF8.self)
    switch report {
    case .text:
      try printReport(
        decode == nil ? tokens.map(String.init).joined(separator: ",") : decoded)
    case .json:
      try printReport(
        try jsonLine(
          Report(
            model: model, count: tokens.count, tokens: tokens,
            pieces: tokens.map { String(decoding: tokenizer.bytes(of: $0), as: UTF8.self) },
            text: decoded)))
    }
  }

  private struct Report: Encodable {
    let model: String
    let count: Int
    let tokens: [Int]
    /// What each stands for; halves of characters are U+FFFD.
    let pieces: [String]
    let text: String
  }
}
