/// What is wrong with a tensor file, as one sentence that names the file and what to do about it.
public struct TensorFileError: Error, Hashable, Sendable {
  /// The family that an error belongs to, for code that reacts to it.
  public enum Kind: Hashable, Sendable {
    /// The file cannot be opened or read: it is missing, a directory, or the system refuses.
    case unreadable

    /// The contents violate the file's format.
    case malformed

    /// The file ends before its data do.
    case truncated

    /// The file is none of the format that was expected, but of this one.
    case otherFormat(FileFormat)

    /// The contents are valid, but of a kind that is not read here.
    case unsupported

    /// The file does not hold the tensor that was asked for.
    case missingTensor

    /// The tensor does not have the shape that was asked for.
    case wrongShape

    /// An element that was read is NaN or infinite.
    case notFinite

    /// The file cannot be created, written or put in its place.
    case unwritable
  }

  /// The family that the error belongs to.
  public let kind: Kind

  /// The file, as its path was given.
  public let path: String

  /// The tensor concerned, or nil if the whole file is.
  public let tensor: String?

  /// What is wrong, without the names of file and tensor.
  public let problem: String

  /// What to do about it.
  public let remedy: String

  package init(
    _ kind: Kind, path: String, tensor: String? = nil, _ problem: String, remedy: String
  ) {
    self.kind = kind
    self.path = path
    self.tensor = tensor
    self.problem = problem
    self.remedy = remedy
  }
}

extension TensorFileError: CustomStringConvertible {
  /// One sentence: file, tensor, what is wrong, what to do.
  public var description: String {
    let tensorPart = tensor.map { ", tensor \(quoted($0))" } ?? ""
    return "\(quoted(path, limit: 4096))\(tensorPart): \(problem); \(remedy)."
  }
}

/// Kinds of characters that change how text is shown without being seen themselves.
private let invisible: Set<Unicode.GeneralCategory> = [
  .control, .format, .lineSeparator, .paragraphSeparator,
]

/// A name from a file in single quotes, with invisible characters escaped and at most `limit` long.
///
/// A hostile file can therefore neither steer a terminal nor flood a log.
package func quoted(_ name: String, limit: Int = 100) -> String {
  var result = "'"
  var length = 0
  for scalar in name.unicodeScalars {
    guard length < limit else { return result + "…'" }
    let isVisible = !invisible.contains(scalar.properties.generalCategory)
    result += scalar.escaped(asASCII: !isVisible)
    length += 1
  }
  return result + "'"
}

/// The first names of a list, in quotes, and how many more there are.
func listed(_ names: some Collection<String>, limit: Int = 20) -> String {
  let shown = names.prefix(limit).map { quoted($0) }.joined(separator: ", ")
  return names.count > limit ? "\(shown) and \(names.count - limit) more" : shown
}
