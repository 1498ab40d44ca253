/// What the regular expressions of pre-tokenizers tell characters apart by.
enum CharacterClass: UInt8 {
  /// `\p{L}`
  case letter
  /// `\p{N}`
  case number
  /// `\r` and `\n`
  case newline
  /// The rest of `\s`.
  case space
  /// All else.
  case other

  /// The class of a character.
  @inline(__always)
  init(_ scalar: Unicode.Scalar) {
    self = scalar.isASCII ? Self.ascii[Int(scalar.value)] : Self.general(scalar)
  }

  /// Whether it is `\s`.
  @inline(__always)
  var isSpace: Bool { self == .newline || self == .space }

  private static let ascii: [CharacterClass] = (0..<128).map { general(Unicode.Scalar($0)) }

  private static func general(_ scalar: Unicode.Scalar) -> CharacterClass {
    if scalar == "\r" || scalar == "\n" { return .newline }
    if scalar.properties.isWhitespace { return .space }
    return switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
      .letter
    case .decimalNumber, .letterNumber, .otherNumber: .number
    default: .other
    }
  }
}

/// A text as characters, with their classes and where they begin.
struct ClassifiedText {
  /// Valid UTF-8.
  let bytes: [UInt8]
  private(set) var scalars: [Unicode.Scalar] = []
  private(set) var classes: [CharacterClass] = []
  /// Where each character begins in `bytes`, and where the last one ends.
  private(set) var offsets: [Int] = []

  /// Takes some of valid UTF-8, which is whole characters.
  init(_ text: ArraySlice<UInt8>) {
    bytes = Array(text)
    scalars.reserveCapacity(text.count)
    classes.reserveCapacity(text.count)
    offsets.reserveCapacity(text.count + 1)
    var offset = 0
    var decoder = Unicode.UTF8()
    var iterator = bytes.makeIterator()
    while case .scalarValue(let scalar) = decoder.decode(&iterator) {
      scalars.append(scalar)
      classes.append(CharacterClass(scalar))
      offsets.append(offset)
      offset += Unicode.UTF8.width(scalar)
    }
    offsets.append(offset)
  }

  /// How many characters there are.
  var count: Int { scalars.count }

  /// The bytes of some characters.
  func bytes(_ range: Range<Int>) -> ArraySlice<UInt8> {
    bytes[offsets[range.lowerBound]..<offsets[range.upperBound]]
  }
}
