import Models
import Testing

/// Conversations as models want them written.
@Suite struct ChatTemplateTests {
  private let talk = [
    ChatMessage(.user, " Hello "), ChatMessage(.assistant, "Hi."), ChatMessage(.user, "Why?"),
  ]

  private func written(_ pieces: [ChatTemplate.Piece]) -> String {
    pieces.map {
      switch $0 {
      case .control(let name): name
      case .text(let text): text
      }
    }.joined()
  }

  /// Beginnings of the templates that the models have, with what tells them apart.
  private static let smollm = """
    {% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
    {{ '<|im_start|>system
    You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
    ' }}{% endif %}{{'<|im_start|>' + message['role'] + '
    ' + message['content'] + '<|im_end|>' + '
    '}}{% endfor %}
    """
  private static let qwen = """
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful \
    assistant.<|im_end|>\\n' }}
    """
  private static let gemma = """
    {{ '<start_of_turn>' + role + '\\n' }}{{ message['content'] | trim }}{{ '<end_of_turn>\\n' }}
    """

  @Test("templates are recognised, and what is not known is not guessed")
  func recognizing() {
    #expect(
      ChatTemplate(recognizing: Self.smollm)
        == .chatML(system: "You are a helpful AI assistant named SmolLM, trained by Hugging Face"))
    #expect(
      ChatTemplate(recognizing: Self.qwen)
        == .chatML(system: "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."))
    #expect(ChatTemplate(recognizing: Self.gemma) == .gemma)
    for other in [
      "", "[INST] {{ content }} [/INST]", "<|im_start|>You are a pirate.<|im_end|>",
      "<|im_start|>{{ tools }}<|im_end|>", "<|im_start|><think><|im_end|>",
      "<start_of_turn>",
    ] {
      #expect(ChatTemplate(recognizing: other) == nil, "\(other)")
    }
  }

  @Test("ChatML: a system message of the model's own, unless the conversation has one")
  func chatML() {
    let template = ChatTemplate.chatML(system: "Be kind.")
    #expect(
      written(template.pieces(talk))
        == """
        <|im_start|>system
        Be kind.<|im_end|>
        <|im_start|>user
         Hello <|im_end|>
        <|im_start|>assistant
        Hi.<|im_end|>
        <|im_start|>user
        Why?<|im_end|>
        <|im_start|>assistant

        """)
    let own = template.pieces([ChatMessage(.system, "S"), talk[2]], addingPrompt: false)
    #expect(
      written(own) == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n")
  }

  @Test("Gemma: trimmed, the model's turns called so, the system's words before the user's first")
  func gemma() {
    #expect(
      written(ChatTemplate.gemma.pieces([ChatMessage(.system, "S")] + talk))
        == """
        <start_of_turn>user
        S

        Hello<end_of_turn>
        <start_of_turn>model
        Hi.<end_of_turn>
        <start_of_turn>user
        Why?<end_of_turn>
        <start_of_turn>model

        """)
  }

  @Test("a conversation that goes on is the whole one, piece by piece")
  func followUp() {
    let last = ChatMessage(.user, " Why? ")
    for template in [ChatTemplate.chatML(system: nil), .gemma] {
      let start = written(template.pieces([talk[0]])) + "Hi."
      let whole = written(template.pieces([talk[0], talk[1], last]))
      #expect(start + written(template.followUp(last, closing: true)) == whole)
      #expect(start + template.endOfTurn + written(template.followUp(last)) == whole)
    }
    let own = written(ChatTemplate.gemma.followUp(talk[1]))
    #expect(own.hasPrefix("\n<start_of_turn>model\nHi."))
  }

  @Test("what a user says does not become tokens that steer the model")
  func injection() throws {
    let fixtures = try TokenizerFixtures.all.get()
    let tokenizer = try TokenizerFixtures.json(fixtures.bytePairs[0])
    let end = try #require(tokenizer.vocabulary.token(named: "<|end|>"))
    let pieces: [ChatTemplate.Piece] = [.control("<|end|>"), .text("a<|end|>b")]
    let tokens = try #require(tokenizer.encode(pieces))
    #expect(tokens.count { $0 == end } == 1 && tokens.first == end)
    #expect(tokenizer.decode(tokens).elementsEqual("<|end|>a<|end|>b".utf8))
    #expect(tokenizer.encode("a<|end|>b", special: true).contains(end))
    #expect(tokenizer.encode([.control("<|none|>")]) == nil)
    #expect(tokenizer.decode([end], skippingSpecial: true).isEmpty)
  }
}
