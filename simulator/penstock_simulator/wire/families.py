"""All wire formats that the simulator speaks, in the order in which they are asked whether a path is theirs."""

from __future__ import annotations

from penstock_simulator.wire import Wire
from penstock_simulator.wire.anthropic_messages import AnthropicMessages
from penstock_simulator.wire.azure_openai import AzureOpenAI
from penstock_simulator.wire.gemini import Gemini
from penstock_simulator.wire.ollama_chat import OllamaChat
from penstock_simulator.wire.openai_chat import OpenAIChat
from penstock_simulator.wire.openai_responses import OpenAIResponses

WIRES: tuple[Wire, ...] = (
    OpenAIChat(),
    OpenAIResponses(),
    AnthropicMessages(),
    AzureOpenAI(),
    OllamaChat(),
    Gemini(),
)
