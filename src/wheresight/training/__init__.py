"""LoRA training under an intervention, on trl, peft and accelerate."""
