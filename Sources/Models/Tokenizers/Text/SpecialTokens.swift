/// The tokens that are found in a text before it is split into words: always those that are a
/// text's own, and where it is asked for those that steer the model.
struct SpecialTokens: Sendable {
  /// A stretch of a text: a token, or bytes to be split.
  enum Piece: Equatable {
    case token(Int)
    case text(Range<Int>)
  }

  private let names: ByteStringMap
  private let tokens: [Int32]
  private let isControl: [Bool]

  /// For each byte how long the tokens are that begin with it, longest first.
  private let lengths: [[Int]]

  /// Takes tokens with their names.
  init(_ tokens: [(token: Int, name: [UInt8], isControl: Bool)]) {
    var table = StringTable()
    var lengths = [Set<Int>](repeating: [], count: 256)
    let named = tokens.filter { !$0.name.isEmpty }
    for (_, name, _) in named {
      table.append(name)
      lengths[Int(name[0])].insert(name.count)
    }
    names = ByteStringMap(table)
    self.tokens = named.map { Int32($0.token) }
    isControl = named.map(\.isControl)
    self.lengths = lengths.map { $0.sorted(by: >) }
  }

  /// Cuts a text at the tokens in it: the leftmost first, and of those the longest.
  ///
  /// - Parameters:
  ///   - own: Whether tokens that are a text's own are looked for.
  ///   - control: Whether those that steer the model are.
  /// - Complexity: O(text), times the different lengths of tokens that begin with a byte of it.
  func pieces(of text: [UInt8], own: Bool = true, control: Bool) -> [Piece] {
    var pieces: [Piece] = []
    var start = 0
    var place = 0
    while place < text.count {
      guard let (token, length) = match(text, at: place, own: own, control: control) else {
        place += 1
        continue
      }
      if place > start { pieces.append(.text(start..<place)) }
      pieces.append(.token(token))
      place += length
      start = place
    }
    if start < text.count { pieces.append(.text(start..<text.count)) }
    return pieces
  }

  private func match(
    _ text: [UInt8], at place: Int, own: Bool, control: Bool
  ) -> (token: Int, length: Int)? {
    for length in lengths[Int(text[place])] where length <= text.count - place {
      guard let number = names.number(text[place..<place + length]),
        isControl[number] ? control : own
      else { continue }
      return (Int(tokens[number]), length)
    }
    return nil
  }
}
