import Compute
import Foundation
import Models
import Tensors
import Testing

/// GGUF files and folders of Hugging Face, seen as the same models.
@Suite struct ModelFileTests {
  /// A folder of the test's own with a model of one layer, in one file or two with an index.
  private final class Folder {
    let url: URL

    init(config: String) throws {
      url = FileManager.default.temporaryDirectory.appending(path: "folder-\(UUID())")
      try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
      try write("config.json", config)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func write(_ name: String, _ text: String) throws {
      try Data(text.utf8).write(to: url.appending(path: name))
    }

    /// Writes tensors whose numbers count up.
    func write(_ name: String, _ tensors: [TensorDescription]) throws {
      let layout = try SafetensorsLayout(path: url.appending(path: name).path, tensors: tensors)
      try SafetensorsFile.write(layout) { (writer) throws(TensorFileError) in
        for tensor in tensors {
          let numbers = (0..<tensor.shape.elementCount).map(Float.init)
          try writer.write(all: tensor.name, from: numbers.span)
        }
      }
    }
  }

  private static let config = """
    {"model_type": "gemma3_text", "num_hidden_layers": 1, "hidden_size": 4, "head_dim": 2,
     "num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-6, "vocab_size": 3,
     "sliding_window": 512, "rope_local_base_freq": 10000.0,
     "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_theta": 1000000}
    """

  @Test("a folder's tensors and values have GGUF's names, with an index and without")
  func folders() throws {
    let first = [
      TensorDescription("model.embed_tokens.weight", .bf16, [3, 4]),
      TensorDescription("model.layers.0.self_attn.q_proj.weight", .f32, [4, 4]),
    ]
    let second = [
      TensorDescription("model.layers.0.post_attention_layernorm.weight", .f16, [4]),
      TensorDescription("model.layers.0.pre_feedforward_layernorm.weight", .f16, [4]),
      TensorDescription("model.layers.0.self_attn.rotary_emb.inv_freq", .f32, [1]),
    ]
    for hasIndex in [false, true] {
      let folder = try Folder(config: Self.config)
      let names =
        hasIndex
        ? ["a.safetensors", "b.safetensors"]
        : ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
      try folder.write(names[0], first)
      try folder.write(names[1], second)
      // What lies beside a model is no part of it.
      try folder.write("logits.safetensors", first)
      if hasIndex {
        let map =
          (first.map { "\"\($0.name)\": \"a.safetensors\"" }
          + second.map { "\"\($0.name)\": \"b.safetensors\"" }).joined(separator: ", ")
        try folder.write("model.safetensors.index.json", "{\"weight_map\": {\(map)}}")
      }
      let model = try ModelFile(folder.url.path)
      #expect(model.architecture == "gemma3")
      #expect(model.normsLackOne && model.rotaryPairs == .halves)
      #expect(
        Set(model.tensors.map(\.name)) == [
          "token_embd.weight", "blk.0.attn_q.weight", "blk.0.post_attention_norm.weight",
          "blk.0.ffn_norm.weight",
        ])
      let embedding = try model.tensor("token_embd.weight", shape: [3, 4])
      #expect(embedding.type == .bf16)
      #expect(embedding.decoded()[11] == 11)
      let values = model.hyperparameters
      #expect(try values.int("block_count") == 1)
      #expect(try values.int("attention.key_length") == 2)
      #expect(try values.number("rope.freq_base") == 1e6)
      #expect(try values.number("rope.scaling.factor") == 8)
      #expect(try values.string("rope.scaling.type") == "linear")
      #expect(try values.integers("attention.head_count_kv", count: 1) == [1])
      #expect(try values.bool("tie_word_embeddings", default: true))
    }
  }

  @Test("matrices of GPT-2 are turned round")
  func transposed() throws {
    let folder = try Folder(config: "{\"model_type\": \"gpt2\", \"n_embd\": 2, \"n_layer\": 1}")
    try folder.write(
      "model.safetensors",
      [
        TensorDescription("h.0.attn.c_attn.weight", .f32, [2, 6]),
        TensorDescription("h.0.attn.bias", .f32, [1]),
        TensorDescription("transformer.wte.weight", .f32, [2, 6]),
      ])
    try folder.write(
      "model-00001-of-00001.safetensors", [TensorDescription("h.1.ln_1.weight", .f32, [2])])
    let model = try ModelFile(folder.url.path)
    let matrix = try model.tensor("blk.0.attn_qkv.weight", shape: [6, 2]).decoded()
    #expect((0..<12).map { matrix[$0] } == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11])
    #expect(try model.tensor("token_embd.weight", shape: [2, 6]).decoded()[1] == 1)
    #expect(try model.hyperparameters.int("feed_forward_length") == 8)
    #expect(model.tensors.count == 2)
  }

  @Test("GGUF files of llama rotate neighbours, others halves; values lose their prefix")
  func gguf() throws {
    for (architecture, pairs) in [("llama", ModelFile.RotaryPairs.neighbours), ("qwen2", .halves)] {
      let builder = GGUFBuilder(values: [
        ("general.architecture", .string(Array(architecture.utf8))),
        ("\(architecture).block_count", .uint32(3)),
        (
          "\(architecture).attention.head_count_kv",
          .array(4, [.uint32(1), .uint32(2), .uint32(4)])
        ),
      ])
      let model = try ModelFile(
        GGUFFile(SharedBytes(AlignedBuffer(copying: builder.bytes.span)), path: "m.gguf"))
      #expect(model.architecture == architecture && model.rotaryPairs == pairs)
      #expect(!model.normsLackOne)
      #expect(
        try model.hyperparameters.integers("attention.head_count_kv", count: 3) == [1, 2, 4])
      let error = try #require(throws: TensorFileError.self) {
        try model.hyperparameters.int("context_length")
      }
      #expect("\(error)".contains("it has no value '\(architecture).context_length'"))
    }
  }

  @Test("values of a wrong kind, size or range, and missing files are refused by name")
  func refusing() throws {
    let values = Hyperparameters(["a": .string("x"), "b": .integer(0), "c": .integers([1, 0])])
    for (name, expected) in [("a", "a text"), ("b", "0"), ("c", "2 whole numbers")] {
      let error = try #require(throws: TensorFileError.self) { try values.int(name) }
      #expect("\(error)".contains("'\(name)' is \(expected) instead of a whole number"))
    }
    #expect(throws: TensorFileError.self) { try values.integers("c", count: 2) }
    #expect(throws: TensorFileError.self) { try values.integers("c", count: 3, in: 0...9) }

    let wrong: [(files: [String: String], sentence: String)] = [
      (["config.json": "{}"], "no text \"model_type\""),
      (["config.json": "[1"], "no JSON object"),
      (["config.json": Self.config], "no .safetensors file"),
      (
        ["config.json": Self.config, "logits.safetensors": "", "q.safetensors": ""],
        "it has 'logits.safetensors', 'q.safetensors', and no file is named as a model's are"
      ),
      (
        ["config.json": Self.config, "model-00002-of-00002.safetensors": ""],
        "it has 'model-00002-of-00002.safetensors', which are not the parts of one model"
      ),
      (
        [
          "config.json": Self.config,
          "model.safetensors.index.json": "{\"weight_map\": {\"a\": \"../b.safetensors\"}}",
        ], "instead of a .safetensors file of the folder"
      ),
      (
        [
          "config.json": Self.config,
          "model.safetensors.index.json": "{\"weight_map\": {\"a\": \"b.safetensors\"}}",
        ], "there is no such file"
      ),
    ]
    for (files, sentence) in wrong {
      let folder = try Folder(config: "{}")
      for (name, text) in files { try folder.write(name, text) }
      let error = try #require(throws: TensorFileError.self) { try ModelFile(folder.url.path) }
      #expect("\(error)".contains(sentence), "\(error)")
    }
  }
}
