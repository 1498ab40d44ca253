import Foundation
import Glibc
import Tensors
import TestSupport
import Testing

/// No file is lost because a command writes another one.
@Suite("What commands write")
struct OutputSafetyTests {
  private func gyre(_ arguments: [String]) async throws -> CommandResult {
    try await MPIJob.runAlone(program: "gyre", arguments: arguments)
  }

  private func input(in folder: TemporaryFolder) throws -> String {
    try folder.safetensors([
      TestTensor("q", [1, 37, 2, 8]), TestTensor("k", [1, 37, 2, 8]),
      TestTensor("v", [1, 37, 2, 8]),
    ])
  }

  /// A shell that runs gyre, as `$0`.
  private func shell(
    _ script: String, _ arguments: [String], in folder: TemporaryFolder
  ) async throws -> CommandResult {
    try await Command.run(
      "bash",
      arguments: ["-c", "cd \(folder.path); " + script, BuiltProducts.executable("gyre")]
        + arguments, timeoutSeconds: 60)
  }

  @Test("inputs are not written over, under whatever name")
  func overInput() async throws {
    let folder = try TemporaryFolder()
    let path = try input(in: folder)
    let before = try folder.bytes("input.safetensors")
    let manager = FileManager.default
    try manager.createSymbolicLink(
      atPath: folder.path + "/link.safetensors", withDestinationPath: "input.safetensors")
    try manager.linkItem(atPath: path, toPath: folder.path + "/second.safetensors")
    let names = [
      path, "./input.safetensors", folder.path + "//input.safetensors", "link.safetensors",
      "second.safetensors",
    ]
    for name in names {
      for option in ["--output", "--trace"] {
        let result = try await shell(
          #""$0" attend input.safetensors "$1" "$2""#, [option, name], in: folder)
        #expect(result.ending == .exited(1) || result.ending == .exited(64), "\(result)")
        #expect(
          result.standardError.contains("\(option) '\(name)' is the same file as the input"),
          "\(result)")
      }
    }
    for (words, arguments) in [
      ("--trace", ["attend", path, "--output", "x", "--trace", "./x"]),
      ("the settings file", ["attend", path, "--settings", "s.json", "--trace", "./s.json"]),
      ("standard output", ["attend", path, "--trace", "out"]),
      ("the input", ["stream", path, "--dilated", "8:1", "--checkpoint", "c"]),
      ("the results file", ["plot", "r.json", "--output", "r.svg"]),
      ("the results file", ["compare", "out", "out"]),
    ] {
      _ = try folder.file("s.json", Array("{}".utf8))
      _ = try folder.file("out", [])
      try? manager.linkItem(atPath: path, toPath: folder.path + "/c.0")
      try? manager.createSymbolicLink(
        atPath: folder.path + "/r.svg", withDestinationPath: folder.path + "/r.json")
      _ = try folder.file("r.json", Array("{}".utf8))
      let result = try await shell(
        #""$0" "$@" >>out"#, Array(arguments), in: folder)
      #expect(!result.isSuccess, "\(result)")
      #expect(
        result.standardError.contains("is the same file as"), "\(result)")
      #expect(result.standardError.contains(words), "\(result)")
    }
    #expect(try folder.bytes("input.safetensors") == before)
  }

  @Test("devices, pipes and read-only files are refused before work by every command")
  func specialFiles() async throws {
    let folder = try TemporaryFolder()
    let path = try input(in: folder)
    let pipe = folder.path + "/pipe"
    #expect(unsafe mkfifo(pipe, 0o600) == 0)
    #expect(unsafe mkfifo(folder.path + "/c.0", 0o600) == 0)
    #expect(unsafe mkfifo(folder.path + "/p.svg", 0o600) == 0)
    let readOnly = try folder.file("kept.safetensors", [1])
    #expect(unsafe chmod(readOnly, 0o400) == 0)
    let results = try folder.file(
      "r.json",
      Array(
        try await gyre([
          "predict", "--flops", "80G", "--ranks", "2", "--tokens", "64", "--network", "10gbit",
          "--format", "json",
        ])
        .standardOutput.utf8))
    for (words, arguments) in [
      ("a pipe", ["attend", path, "--output", pipe]),
      ("a pipe", ["attend", path, "--trace", pipe]),
      ("a device", ["attend", path, "--output", "/dev/null"]),
      ("a pipe", ["stream", path, "--dilated", "8:1", "--checkpoint", folder.path + "/c"]),
      ("a pipe", ["plot", results, "--output", folder.path + "/p.svg"]),
      ("read-only", ["attend", path, "--output", readOnly]),
      ("does not exist", ["attend", path, "--trace", "/nodir/t.json"]),
      ("does not exist", ["plot", results, "--output", "/nodir/t.svg"]),
      ("not to be overwritten", ["attend", path, "--trace", path, "--no-overwrite"]),
    ] {
      let result = try await gyre(Array(arguments))
      #expect(!result.isSuccess && result.standardError.contains(words), "\(result)")
      #expect(result.standardOutput.isEmpty, "\(result)")
    }
    var status = stat()
    #expect(unsafe stat(pipe, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO)
  }

  @Test("an ending that promises another format is refused")
  func endings() async throws {
    for name in ["o.npy", "o.npz", "o.pt", "a/o.bin", "o.safetensors.gz", ".o.txt"] {
      let result = try await gyre(["attend", "--random", "1x16x1x1x8", "--output", name])
      #expect(result.ending == .exited(64), "\(result)")
      #expect(result.standardError.contains("ends in .safetensors"), "\(result)")
    }
  }

  @Test("the output is there when the report finds no reader; what cannot be said is an error")
  func reportWithoutReader() async throws {
    let folder = try TemporaryFolder()
    let attend = #""$0" attend --random 1x2000x4x4x64 --output o"#
    let gone = try await shell(attend + " | true; echo ${PIPESTATUS[0]}", [], in: folder)
    #expect(gone.standardOutput == "1\n" && folder.names == ["o"], "\(gone)")
    #expect(gone.standardError.contains("the report cannot be written"), "\(gone)")
    for command in [
      attend, attend + " --report json", #""$0" --help"#, #""$0" attend --help"#,
      #""$0" --version"#, #""$0" doctor"#,
      #""$0" bench kernel --tokens 64 --head-dim 8 --repeats 1"#,
      #""$0" predict --flops 80G --ranks 2 --tokens 1024 --network 10gbit"#,
      #""$0" attend --random 1x8x1x1x8 --explain-settings"#,
      #""$0" stream --random 1x64x1x1x8 --dilated 8:1"#,
    ] {
      for redirection in [">/dev/full", ">&-"] {
        let result = try await shell(command + " " + redirection, [], in: folder)
        #expect(!result.isSuccess, "\(command) \(redirection): \(result)")
        #expect(
          result.standardError.contains("the report cannot be written to standard output"),
          "\(command) \(redirection): \(result)")
      }
    }
    #expect(folder.names == ["o"])
  }

  @Test("hosts that see different files under one path are named")
  func differentInputs() async throws {
    let (folder, other) = (try TemporaryFolder(), try TemporaryFolder())
    func write(_ place: TemporaryFolder, tokens: Int, seed: UInt64) throws {
      _ = try place.safetensors(
        ["q", "k", "v"].map { TestTensor($0, [1, tokens, 2, 8], seed: seed) })
    }
    try write(folder, tokens: 300, seed: 1)
    for (tokens, seed, words) in [
      (300, UInt64(2), "of the same size with other contents"), (200, 1, "bytes and not of"),
    ] {
      try write(other, tokens: tokens, seed: seed)
      for command in [["attend"], ["stream", "--dilated", "8:1"]] {
        let program =
          [BuiltProducts.executable("gyre"), command[0], "input.safetensors"] + command.dropFirst()
        let ranks = [(folder.path, "2"), (other.path, "1"), (folder.path, "1")].map {
          ["-n", $0.1, "--wdir", $0.0] + program
        }
        let root = geteuid() == 0 ? ["--allow-run-as-root"] : []
        let result = try await Command.run(
          "mpirun",
          arguments: root + ["--oversubscribe", "--bind-to", "none"]
            + Array(ranks.joined(separator: [":"])), timeoutSeconds: 60)
        #expect(!result.isSuccess)
        #expect(
          result.standardError.contains("'input.safetensors' is another file for rank 2"),
          "\(result)")
        #expect(result.standardError.contains(words), "\(result)")
      }
    }
  }
}
