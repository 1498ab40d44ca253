import Foundation
import TestSupport
import Testing

/// What a program says of the source that it was built from.
@Suite("The stamped commit")
struct BuildStampTests {
  private let folder: TemporaryFolder
  private var root: String { folder.path + "/root" }
  private var stamp: String { folder.path + "/Stamp.swift" }

  init() throws {
    folder = try TemporaryFolder()
    try FileManager.default.createDirectory(
      atPath: folder.path + "/root/Sources", withIntermediateDirectories: true)
    try write("// a package", to: "Package.swift")
    try write("let x = 1", to: "Sources/x.swift")
  }

  private func write(_ text: String, to path: String) throws {
    try text.write(toFile: root + "/" + path, atomically: false, encoding: .utf8)
  }

  private func git(_ arguments: String..., in place: String? = nil) async throws -> String {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    let result = try await Command.run(
      "git", arguments: ["-C", place ?? root] + identity + arguments, timeoutSeconds: 20)
    try #require(result.isSuccess, "\(result)")
    return result.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// What the script writes; empty is no commit.
  private func stamped(
    _ place: String? = nil, _ environment: [String: String] = [:]
  ) async throws -> String {
    let script = BuiltProducts.packageRoot + "/Sources/StampCommit/stamp-commit"
    let variables = ["GYRE_COMMIT": ""].merging(environment) { $1 }.map { "\($0)=\($1)" }
    let result = try await Command.run(
      "env", arguments: variables + [script, place ?? root, stamp], timeoutSeconds: 20)
    #expect(result.isSuccess && result.standardError.isEmpty, "\(result)")
    let line = try String(contentsOfFile: stamp, encoding: .utf8)
    #expect(line.hasPrefix("let stampedCommit = \"") && line.hasSuffix("\"\n"))
    return String(line.dropFirst("let stampedCommit = \"".count).dropLast(2))
  }

  @Test("is the one checked out, and says where the source differs from it")
  func checkout() async throws {
    #expect(try await stamped() == "")
    _ = try await git("init", "-q")
    #expect(try await stamped() == "")
    _ = try await git("add", "-A")
    _ = try await git("commit", "-qm", "one")
    let commit = try await git("rev-parse", "HEAD")
    #expect(commit.count == 40)
    #expect(try await stamped() == commit)
    // What is not compiled does not matter.
    try write("notes", to: "notes")
    #expect(try await stamped() == commit)
    try write("let y = 1", to: "Sources/y.swift")
    #expect(try await stamped() == commit + "-modified")
    _ = try await git("add", "-A")
    #expect(try await stamped() == commit + "-modified")
    _ = try await git("commit", "-qm", "two")
    let next = try await git("rev-parse", "HEAD")
    #expect(try await stamped() == next && next != commit)
    // A second working tree of the same repository.
    let tree = folder.path + "/tree"
    _ = try await git("worktree", "add", "-q", "--detach", tree, commit)
    #expect(try await stamped(tree) == commit)
  }

  @Test("is none of another repository that the source lies in")
  func foreign() async throws {
    _ = try await git("init", "-q", in: folder.path)
    _ = try await git("add", "-A", in: folder.path)
    _ = try await git("commit", "-qm", "foreign", in: folder.path)
    #expect(try await stamped() == "")
    #expect(try await stamped(nil, ["GYRE_COMMIT": "abc"]) == "abc")
    #expect(try await stamped(nil, ["GYRE_COMMIT": "a\"b"]) == "")
  }

  @Test("does not ask for git, and leaves a file alone that says the same")
  func withoutGit() async throws {
    let tools = folder.path + "/tools"
    try FileManager.default.createDirectory(atPath: tools, withIntermediateDirectories: true)
    for tool in ["sh", "cat"] {
      try FileManager.default.createSymbolicLink(
        atPath: "\(tools)/\(tool)", withDestinationPath: "/bin/\(tool)")
    }
    #expect(try await stamped(nil, ["PATH": tools]) == "")
    func written() throws -> Date? {
      try FileManager.default.attributesOfItem(atPath: stamp)[.modificationDate] as? Date
    }
    let before = try written()
    _ = try await stamped(nil, ["PATH": tools])
    #expect(try written() == before)
  }

  @Test("is in results wherever the executable lies, and in --version")
  func program() async throws {
    _ = try await git("init", "-q")
    _ = try await git("add", "-A")
    _ = try await git("commit", "-qm", "foreign")
    let copy = root + "/gyre"
    try FileManager.default.copyItem(atPath: BuiltProducts.executable("gyre"), toPath: copy)
    var commits: [String?] = []
    for gyre in [BuiltProducts.executable("gyre"), copy] {
      let result = try await Command.run(
        gyre,
        arguments: ["bench", "kernel", "--tokens", "16", "--repeats", "1", "--format", "json"],
        timeoutSeconds: 60)
      let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
      let environment = (object as? [String: Any])?["environment"] as? [String: Any]
      #expect(environment?["gyreVersion"] is String, "\(result)")
      commits.append(environment?["commit"] as? String)
    }
    #expect(commits[0] == commits[1])
    let version = try await Command.run(copy, arguments: ["--version"], timeoutSeconds: 20)
    #expect(version.standardOutput.contains(commits[0].map { $0.prefix(9) } ?? "."), "\(version)")
  }
}
