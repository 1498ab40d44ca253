import ArgumentParser
import Reporting
import Tensors

/// What the tensors of a run are called in a `.safetensors` file: `--names q=query,k=key`.
struct TensorNames: Hashable, CustomStringConvertible {
  /// A tensor that is read, by the name that it has without `--names`.
  enum Role: String, CaseIterable {
    case q, k, v
    case outputGradient = "do"
    case globalQ = "q_global"
    case globalK = "k_global"
    case globalV = "v_global"

    /// Its dimensions, for sentences.
    var dimensions: String {
      switch self {
      case .q, .globalQ: "[batch, tokens, queryHeads, headDim]"
      case .k, .globalK: "[batch, keyTokens, kvHeads, headDim]"
      case .v, .globalV: "[batch, keyTokens, kvHeads, valueHeadDim]"
      case .outputGradient: "[batch, tokens, queryHeads, valueHeadDim]"
      }
    }
  }

  private var given: [Role: String] = [:]

  init() {}

  /// Parses `q=query,k=key,v=value,do=grad`, or some of them.
  init(parsing text: String) throws {
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let words = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard words.count == 2, let role = Role(rawValue: String(words[0])), !words[1].isEmpty else {
        throw ValidationError(
          "give names for some of q, k, v and do, for example q=query,k=key,v=value.")
      }
      guard given.updateValue(String(words[1]), forKey: role) == nil else {
        throw ValidationError("'\(role.rawValue)' has two names; give one.")
      }
    }
  }

  /// Whether a name is given for a tensor.
  func names(_ role: Role) -> Bool { given[role] != nil }

  /// The name of a tensor.
  subscript(role: Role) -> String { given[role] ?? role.rawValue }

  /// As it is written on the command line, in the order of the roles.
  var description: String {
    Role.allCases.compactMap { role in given[role].map { "\(role.rawValue)=\($0)" } }
      .joined(separator: ",")
  }

  /// Finds some tensors in a file.
  ///
  /// - Throws: where one is not there, a sentence with what is needed and what the file has that
  ///   could be meant; that is a ``UserError`` of usage if `--names` has named it.
  func find(_ roles: [Role], in file: SafetensorsFile) throws -> [Role: TensorSource] {
    var found: [Role: TensorSource] = [:]
    for role in roles where file.entry(self[role]) != nil {
      found[role] = try file.source(self[role], rank: 4)
    }
    let missing = roles.filter { found[$0] == nil }
    guard let first = missing.first else { return found }
    let taken = Set(found.values.map(\.name))
    let candidates = file.entries.filter {
      $0.elementType != nil && $0.shape.rank == 4 && !taken.contains($0.name)
    }
    let needed = missing.map { "\($0.rawValue) \($0.dimensions)" }.joined(separator: ", ")
    let isRenamed = given[first] != nil
    var problem = "'\(file.path)': there is no tensor '\(self[first])' in the file"
    problem += isRenamed ? ", which --names gives for \(first.rawValue)" : ""
    problem += "; needed \(missing.count == 1 ? "is" : "are") \(needed), and "
    problem +=
      candidates.isEmpty
      ? "it has no other tensor of rank 4 in F32, F16 or BF16: save them there, or name another "
        + "file."
      : "it has \(Self.listed(candidates)): say which they are with --names "
        + missing.map { "\($0.rawValue)=NAME" }.joined(separator: ",") + "."
    throw isRenamed ? UserError.usage(problem) : UserError(problem)
  }

  /// The first tensors of a list with their shapes, and how many more there are.
  private static func listed(_ entries: [TensorEntry], limit: Int = 8) -> String {
    let shown = entries.prefix(limit).map { "\(quoted($0.name)) \($0.shape)" }
      .joined(separator: ", ")
    return entries.count > limit ? "\(shown) and \(entries.count - limit) more" : shown
  }
}
