import Jobs
import MPI
import SequenceParallel
import Tensors

extension AttentionInput {
  /// The files that the tensors lie in, each once; none for random tensors.
  func fingerprints() throws -> [(path: String, fingerprint: FileFingerprint)] {
    try [q, k, v, outputGradient, projections?.q, projections?.k, projections?.v]
      .compactMap { $0 as? TensorSource }.fingerprints()
  }

  /// Refuses hosts that see different files under one path, which would be mixed without a word.
  func requireSameFiles(on world: borrowing Communicator) throws {
    try world.requireSameFiles(fingerprints())
  }
}

extension [TensorSource] {
  /// The files that the tensors lie in, each once.
  func fingerprints() throws -> [(path: String, fingerprint: FileFingerprint)] {
    var files: [(path: String, fingerprint: FileFingerprint)] = []
    for source in self where !files.contains(where: { $0.path == source.path }) {
      files.append((source.path, try source.fingerprint()))
    }
    return files
  }
}

extension Communicator {
  /// Refuses hosts that see different files under one path.
  func requireSameFiles(
    _ fingerprints: @autoclosure () throws -> [(path: String, fingerprint: FileFingerprint)]
  ) throws {
    let files = try agreed { try fingerprints() }
    let lines = files.map { "\($0.fingerprint.byteCount) \($0.fingerprint.contents)" }
    guard let other = try lowestDifferingRank(lines.joined(separator: "\n")) else { return }
    let said = try broadcastBytes(
      Array(([MPIEnvironment.processorName] + lines).joined(separator: "\n").utf8), from: other)
    let words = String(decoding: said, as: UTF8.self).split(separator: "\n")
    let (host, others) = (words[0], words.dropFirst().map(String.init))
    guard rank == 0 else { throw AgreedFailure(message: nil) }
    let index = lines.indices.first { $0 >= others.count || lines[$0] != others[$0] } ?? 0
    let theirSize = others[index].prefix { $0 != " " }
    let difference =
      theirSize == "\(files[index].fingerprint.byteCount)"
      ? "of the same size with other contents"
      : "of \(theirSize) bytes and not of \(files[index].fingerprint.byteCount)"
    throw AgreedFailure(
      message: """
        gyre: '\(files[index].path)' is another file for rank \(other) on \(host), \
        \(difference), than for rank 0 on \(MPIEnvironment.processorName); \
        give a path under which all hosts see the same file.
        """)
  }
}
