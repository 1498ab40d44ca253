import Foundation
import Tensors
import TestSupport
import Testing

/// Inputs whose tensors have other names, another order of dimensions or another order in the file
/// give the bits of the usual ones.
@Suite("Names and orders of inputs")
struct InputOrderTests {
  /// Uneven in every way, with grouped heads.
  private static let tensors = [
    TestTensor("q", [2, 37, 4, 20]), TestTensor("k", [2, 45, 2, 20]),
    TestTensor("v", [2, 45, 2, 12]), TestTensor("do", [2, 37, 4, 12]),
  ]
  private static let outputs = ["o", "lse", "dq", "dk", "dv"]

  /// The tensor with heads before tokens.
  private static func headsFirst(_ tensor: TestTensor) -> TestTensor {
    let s = tensor.shape
    var turned = TestTensor(tensor.name, [s[0], s[2], s[1], s[3]], tensor.elementType)
    turned.values = turned.values.indices.map { place in
      let index = turned.shape.index(ofFlat: place)
      return tensor.values[s.flatIndex(of: [index[0], index[2], index[1], index[3]])]
    }
    return turned
  }

  /// A `.npy` file in Fortran order, big-endian if asked for.
  private static func fortran(_ tensor: TestTensor, isBigEndian: Bool) -> [UInt8] {
    let shape = tensor.shape
    let stored = Shape(shape.dimensions.reversed())
    var header = "{'descr': '\(isBigEndian ? ">" : "<")f4', 'fortran_order': True, 'shape': "
    header += "(\(shape.dimensions.map(\.description).joined(separator: ", "))), }"
    let bytes = (0..<stored.elementCount).flatMap { place in
      let index = Array(stored.index(ofFlat: place).reversed())
      let bits = tensor.values[shape.flatIndex(of: index)].bitPattern
      return (0..<4).map { byte in
        UInt8(truncatingIfNeeded: bits >> (8 * UInt32(isBigEndian ? 3 - byte : byte)))
      }
    }
    return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(header.utf8.count), 0] + Array(header.utf8)
      + bytes
  }

  private func attend(
    _ arguments: [String], to output: String, ranks: Int
  ) async throws -> [String: (shape: Shape, values: [Float])] {
    let result = try await MPIJob.run(
      program: "gyre",
      arguments: ["attend"] + arguments
        + ["--output", output, "--gradients", "--causal", "--reproducible", "--verify"],
      ranks: ranks)
    #expect(result.isSuccess, "\(result)")
    #expect(!result.standardError.contains("gyre: "), "\(result)")
    return try Dictionary(uniqueKeysWithValues: Self.outputs.map { ($0, try read(output, $0)) })
  }

  @Test("give the same bits on any number of ranks, in any layout", arguments: [1, 2, 3, 5])
  func sameBits(ranks: Int) async throws {
    let folder = try TemporaryFolder()
    let output = folder.path + "/out.safetensors"
    let usual = try await attend([folder.safetensors(Self.tensors)], to: output, ranks: 1)
    let layout = ["--layout", ["contiguous", "zigzag", "striped"][ranks % 3]]

    let turned = Self.tensors.map(Self.headsFirst)
    let file = try folder.safetensors(turned, name: "bhsd.safetensors")
    let bhsd = try await attend(
      [file, "--input-layout", "bhsd"] + layout, to: output, ranks: ranks)
    for (name, tensor) in usual where name != "lse" {
      var expected = TestTensor(name, tensor.shape)
      expected.values = tensor.values
      expected = Self.headsFirst(expected)
      #expect(bhsd[name]?.shape == expected.shape)
      #expect(bhsd[name]?.values == expected.values, "\(name)")
    }
    #expect(bhsd["lse"]?.values == usual["lse"]?.values)

    let npy = try zip(Self.tensors, turned).enumerated().flatMap { index, pair in
      // Every other file is big-endian, one of C order among them.
      let path = try folder.file(
        "\(pair.0.name).npy",
        index == 3 ? pair.0.npy : Self.fortran(pair.0, isBigEndian: index % 2 == 1))
      return ["--\(pair.0.name)", path]
    }
    let fortran = try await attend(npy + layout, to: output, ranks: ranks)
    for name in Self.outputs {
      #expect(fortran[name]?.shape == usual[name]?.shape)
      #expect(fortran[name]?.values == usual[name]?.values, "\(name)")
    }
    let both = try turned.flatMap {
      ["--\($0.name)", try folder.file("t\($0.name).npy", Self.fortran($0, isBigEndian: false))]
    }
    let turnedFortran = try await attend(
      both + layout + ["--input-layout", "bhsd"], to: output, ranks: ranks)
    for name in Self.outputs { #expect(turnedFortran[name]?.values == bhsd[name]?.values) }
  }

  @Test("other names are given with --names")
  func names() async throws {
    let folder = try TemporaryFolder()
    let output = folder.path + "/out.safetensors"
    let usual = try await attend([folder.safetensors(Self.tensors)], to: output, ranks: 1)
    let names = ["q": "layers.0.query", "k": "key=1", "v": "value", "do": "grad out"]
    let renamed = try Self.tensors.map { tensor in
      var other = TestTensor(try #require(names[tensor.name]), tensor.shape)
      other.values = tensor.values
      return other
    }
    let input = try folder.safetensors(
      renamed + [TestTensor("bias", [7]), TestTensor("other", [1, 2, 3, 4])],
      name: "named.safetensors")
    let list = names.map { "\($0)=\($1)" }.joined(separator: ",")
    let found = try await attend([input, "--names", list], to: output, ranks: 2)
    for name in Self.outputs { #expect(found[name]?.values == usual[name]?.values) }

    let missing = try await MPIJob.run(
      program: "gyre", arguments: ["attend", input], ranks: 2)
    #expect(missing.ending == .exited(1), "\(missing)")
    for word in [
      "no tensor 'q'", "q [batch, tokens, queryHeads, headDim]", "k [batch, keyTokens",
      "'layers.0.query' [2, 37, 4, 20]", "'other' [1, 2, 3, 4]", "--names q=NAME,k=NAME,v=NAME",
    ] {
      #expect(missing.standardError.contains(word), "'\(word)' is not in \(missing)")
    }
    #expect(!missing.standardError.contains("'bias'"), "\(missing)")
    let wrong = try await MPIJob.run(
      program: "gyre", arguments: ["attend", input, "--names", list + "x", "--gradients"], ranks: 2)
    #expect(wrong.ending == .exited(64), "\(wrong)")
  }

  @Test("gyre stream reads them too")
  func stream() async throws {
    let folder = try TemporaryFolder()
    let tensors = [
      TestTensor("q", [1, 70, 4, 8]), TestTensor("k", [1, 70, 2, 8]),
      TestTensor("v", [1, 70, 2, 8]),
    ]
    func digest(_ arguments: [String], ranks: Int) async throws -> String {
      let result = try await MPIJob.run(
        program: "gyre",
        arguments: ["stream"] + arguments
          + [
            "--dilated", "16:1,64:3", "--window", "20", "--causal", "--verify", "--report", "json",
          ],
        ranks: ranks)
      #expect(result.isSuccess, "\(result)")
      let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
      return try #require((object as? [String: Any])?["outputDigest"] as? String)
    }
    let usual = try await digest([folder.safetensors(tensors)], ranks: 1)
    let turned = try folder.safetensors(tensors.map(Self.headsFirst), name: "bhsd.safetensors")
    #expect(try await digest([turned, "--input-layout", "bhsd"], ranks: 3) == usual)
    let renamed = tensors.map { tensor in
      var other = TestTensor("my." + tensor.name, tensor.shape)
      other.values = tensor.values
      return other
    }
    let named = try folder.safetensors(renamed, name: "named.safetensors")
    #expect(try await digest([named, "--names", "q=my.q,k=my.k,v=my.v"], ranks: 2) == usual)
  }

  @Test("heads that look like tokens are mentioned once, unless the order is given")
  func note() async throws {
    let folder = try TemporaryFolder()
    let shape: Shape = [1, 8, 64, 4]
    let input = try folder.safetensors(["q", "k", "v"].map { TestTensor($0, shape) })
    for (command, more) in [("attend", []), ("stream", ["--dilated", "8:1"])]
      as [(String, [String])]
    {
      let result = try await MPIJob.run(
        program: "gyre", arguments: [command, input] + more, ranks: 2)
      #expect(result.isSuccess, "\(result)")
      let notes = result.standardError.split(separator: "\n").filter { $0.hasPrefix("gyre: ") }
      #expect(notes.count == 1, "\(result)")
      #expect(notes.first?.contains("8 tokens of 64 heads") == true, "\(result)")
      #expect(notes.first?.contains("--input-layout bhsd") == true, "\(result)")
      for layout in ["bshd", "bhsd"] {
        let given = try await MPIJob.run(
          program: "gyre", arguments: [command, input, "--input-layout", layout] + more, ranks: 2)
        #expect(given.isSuccess && given.standardError.isEmpty, "\(given)")
      }
    }
    // A step of decoding has many heads for its one token, and few for its keys.
    let decoding = try folder.safetensors(
      [
        TestTensor("q", [1, 1, 64, 4]), TestTensor("k", [1, 200, 8, 4]),
        TestTensor("v", [1, 200, 8, 4]),
      ], name: "decoding.safetensors")
    let result = try await MPIJob.runAlone(program: "gyre", arguments: ["attend", decoding])
    #expect(result.isSuccess && result.standardError.isEmpty, "\(result)")
  }

  @Test("shapes that only fit the other way round are told so")
  func hint() async throws {
    let folder = try TemporaryFolder()
    let input = try folder.safetensors([
      TestTensor("q", [1, 4, 30, 8]), TestTensor("k", [1, 4, 50, 8]),
      TestTensor("v", [1, 4, 50, 8]),
    ])
    let result = try await MPIJob.runAlone(program: "gyre", arguments: ["attend", input])
    #expect(
      result.standardError.contains(
        "or give --input-layout bhsd if they are [batch, heads, tokens, headDim]."), "\(result)")
    let turned = try await MPIJob.runAlone(
      program: "gyre", arguments: ["attend", input, "--input-layout", "bhsd", "--verify"])
    #expect(turned.isSuccess, "\(turned)")
  }
}
