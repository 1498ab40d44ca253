import Glibc
import Models
import Reporting

/// What rank 0 reads and says.
struct Speaker {
  private let tokenizer: Tokenizer
  private let template: ChatTemplate?
  private let prompt: [UInt8]?
  private let stop: [[UInt8]]

  /// Reads the tokenizer and the prompt.
  init(_ command: GenerateCommand, _ model: OpenModel) throws {
    tokenizer = try model.file.tokenizer()
    template = command.chat ? try model.file.chatTemplate(of: tokenizer) : nil
    if let file = command.promptFile {
      prompt = try ModelText.bytes(of: file, option: "--prompt-file")
    } else {
      prompt = command.prompt.map { Array($0.utf8) }
    }
    stop = command.stop.map { Array($0.utf8) }
    guard tokenizer.count <= model.decoder.sizes.vocabulary else {
      throw UserError(
        "the tokenizer of '\(model.file.path)' has \(grouped(tokenizer.count)) tokens and the "
          + "model \(grouped(model.decoder.sizes.vocabulary)); convert the model again, or "
          + "name another."
      )
    }
  }

  /// The tokens that come first.
  ///
  /// - Parameter afterWindows: whether others have been read, so that they do not begin a text.
  func firstTokens(afterWindows: Bool) throws -> [Int] {
    let begins: Bool? = afterWindows ? false : nil
    guard let template else { return tokenizer.encode(prompt ?? [], addingBeginning: begins) }
    guard let message = prompt.map({ String(decoding: $0, as: UTF8.self) }) ?? Self.message() else {
      return []
    }
    return try tokens(template.pieces([ChatMessage(.user, message)]), addingBeginning: begins)
  }

  /// Those of the next message; nil at the end of the input.
  func nextTokens() throws -> [Int]? {
    guard let template, let message = Self.message() else { return nil }
    return try tokens(template.followUp(ChatMessage(.user, message)), addingBeginning: false)
  }

  private func tokens(_ pieces: [ChatTemplate.Piece], addingBeginning: Bool?) throws -> [Int] {
    guard let tokens = tokenizer.encode(pieces, addingBeginning: addingBeginning) else {
      throw UserError(
        "the vocabulary lacks a token that the model's chat template names; leave --chat out.")
    }
    return tokens
  }

  /// A line that somebody has typed.
  private static func message() -> String? {
    if isatty(STDIN_FILENO) == 1 { write("> ", to: STDERR_FILENO) }
    return readLine()
  }

  /// Where what is said goes.
  ///
  /// - Parameter titles: of the texts.
  func output(isQuiet: Bool, titles: [String]) -> SpokenTexts {
    SpokenTexts(
      SpokenText(tokenizer: tokenizer, stop: stop, isQuiet: isQuiet), titles: titles)
  }
}

/// A text as it is said, token by token; it is printed from when it is shown.
struct SpokenText {
  private let ends: Set<Int>
  private let stop: [[UInt8]]
  private let isQuiet: Bool
  private var stream: TextStream
  private var bytes: [UInt8] = []
  /// How many of them cannot be the beginning of a text that ends all, and how many were printed.
  private var settled = 0
  private var printed = 0
  private var isShown = false
  private var hasEnded = false

  init(tokenizer: Tokenizer, stop: [[UInt8]], isQuiet: Bool) {
    ends = tokenizer.ends
    self.stop = stop
    self.isQuiet = isQuiet
    stream = TextStream(tokenizer)
  }

  /// What has been said so far.
  var text: String { String(decoding: bytes, as: UTF8.self) }

  /// Prints what has been said so far, and from now on what is.
  mutating func show(under title: String) throws {
    isShown = true
    if !isQuiet, !title.isEmpty { try printPart(title) }
    try printSettled()
  }

  /// Takes a token, and prints what cannot be the beginning of a text that ends all.
  mutating func take(_ token: Int) throws -> Ending {
    if ends.contains(token) { return .endOfText }
    bytes += Array(stream.append(token).utf8)
    for text in stop {
      if let place = Self.place(of: text, in: bytes, from: max(0, settled - text.count)) {
        bytes.removeLast(bytes.count - place)
        return .stop
      }
    }
    let kept = stop.map { Self.overlap(bytes, $0) }.max() ?? 0
    settled = max(settled, bytes.count - kept)
    try printSettled()
    return .none
  }

  /// Prints the rest and ends the line.
  mutating func finish() throws {
    bytes += Array(stream.finish().utf8)
    settled = bytes.count
    hasEnded = true
    try printSettled()
  }

  private mutating func printSettled() throws {
    guard isShown, !isQuiet else { return }
    if settled > printed {
      try printPart(String(decoding: bytes[printed..<settled], as: UTF8.self))
      printed = settled
    }
    if hasEnded { try printPart("\n") }
  }

  private static func place(of part: [UInt8], in bytes: [UInt8], from first: Int) -> Int? {
    guard bytes.count >= part.count else { return nil }
    return (first...max(first, bytes.count - part.count)).first {
      $0 + part.count <= bytes.count && bytes[$0..<$0 + part.count].elementsEqual(part)
    }
  }

  /// How many of the last bytes are the beginning of a text.
  private static func overlap(_ bytes: [UInt8], _ text: [UInt8]) -> Int {
    (0..<min(text.count, bytes.count + 1)).last { bytes.suffix($0).elementsEqual(text.prefix($0)) }
      ?? 0
  }
}
