# ruff: noqa: E501  (one family of look-alikes is one line)
"""The names: which emoji the pocket model knows, and which of them are alike.

One line is one family of look-alikes; every member is a *sibling* of the others and serves as a
hard negative for them. A member is written ``CODEPOINT=name``; the name is the official Unicode
name where that is short ("red apple"), and a shorter, still truthful one where the official one
is clumsy ("pizza" for "slice of pizza"). Left out on purpose: faces that differ by an eyebrow,
clock faces, flags, skin tones, hands, arrows, and pictures that cannot be told apart at 32 px.
"""

from __future__ import annotations

from dataclasses import dataclass

_FAMILIES = """
1F34E=red apple, 1F34F=green apple, 1F345=tomato, 1F352=cherries, 1F351=peach
1F34A=tangerine, 1F34B=lemon, 1F96D=mango, 1F34D=pineapple, 1F34C=banana, 1F350=pear
1F349=watermelon, 1F95D=kiwi fruit, 1F951=avocado, 1F965=coconut, 1F952=cucumber
1F353=strawberry, 1F347=grapes, 1FAD0=blueberries, 1F346=eggplant
1F955=carrot, 1F336-FE0F=hot pepper, 1F33D=corn, 1F966=broccoli, 1F344=mushroom, 1F954=potato
1F354=hamburger, 1F355=pizza, 1F32D=hot dog, 1F32E=taco, 1F35F=french fries, 1F37F=popcorn
1F9C0=cheese, 1F35E=bread, 1F950=croissant, 1F968=pretzel, 1F95E=pancakes, 1F356=meat on bone
1F373=fried egg, 1F363=sushi, 1F359=rice ball, 1F35D=spaghetti, 1F364=fried shrimp
1F366=soft ice cream, 1F367=shaved ice, 1F369=doughnut, 1F36A=cookie, 1F36B=chocolate bar
1F36C=candy, 1F36D=lollipop, 1F382=birthday cake, 1F370=shortcake, 1F36F=honey pot, 1F9C1=cupcake
1F377=wine glass, 1F378=cocktail glass, 1F379=tropical drink, 1F37A=beer mug, 2615=hot coffee
1F37C=baby bottle, 1F95B=glass of milk, 1F964=cup with straw, 1F37E=champagne bottle, 1FAD6=teapot
1F374=fork and knife, 1F944=spoon, 1F52A=kitchen knife, 1F3FA=amphora
1F331=seedling, 1F332=evergreen tree, 1F333=deciduous tree, 1F334=palm tree, 1F335=cactus
1F340=four leaf clover, 1F341=maple leaf, 1F342=fallen leaf, 1FAB4=potted plant
1F337=tulip, 1F338=cherry blossom, 1F339=rose, 1F33A=hibiscus, 1F33B=sunflower, 1F490=bouquet
1F436=dog face, 1F431=cat face, 1F43A=wolf face, 1F98A=fox face, 1F42F=tiger face, 1F981=lion face
1F42D=mouse face, 1F430=rabbit face, 1F437=pig face, 1F43B=bear face, 1F43C=panda face, 1F428=koala
1F42E=cow face, 1F434=horse face, 1F984=unicorn face, 1F435=monkey face, 1F438=frog face
1F418=elephant, 1F98F=rhinoceros, 1F993=zebra, 1F992=giraffe, 1F42A=camel, 1F98C=deer
1F411=sheep, 1F994=hedgehog, 1F987=bat, 1F998=kangaroo, 1F9A5=sloth
1F40A=crocodile, 1F40D=snake, 1F422=turtle, 1F98E=lizard, 1F996=t-rex, 1F409=dragon
1F433=spouting whale, 1F42C=dolphin, 1F988=shark, 1F41F=fish, 1F420=tropical fish, 1F421=blowfish
1F419=octopus, 1F980=crab, 1F99E=lobster, 1F41A=spiral shell, 1F991=squid
1F40C=snail, 1F41B=caterpillar, 1F41D=honeybee, 1F41E=lady beetle, 1F98B=butterfly
1F577-FE0F=spider, 1F578-FE0F=spider web, 1F982=scorpion, 1F41C=ant
1F413=rooster, 1F424=baby chick, 1F427=penguin, 1F985=eagle, 1F986=duck, 1F989=owl
1F99A=peacock, 1F99C=parrot, 1F9A2=swan, 1F9A9=flamingo, 1F983=turkey
1F43E=paw prints, 1F9B4=bone, 1F9B7=tooth, 1F440=eyes, 1F444=mouth, 1F9E0=brain
1F480=skull, 1F47B=ghost, 1F47D=alien, 1F47E=alien monster, 1F916=robot face, 1F383=jack-o-lantern
2600-FE0F=sun, 1F31E=sun with face, 2B50=star, 1F319=crescent moon, 1F315=full moon
2601-FE0F=cloud, 26C5=sun behind cloud, 1F327-FE0F=rain cloud, 1F32A-FE0F=tornado, 1F308=rainbow
26A1=lightning, 1F525=fire, 1F4A7=water drop, 2744-FE0F=snowflake, 1F4A5=explosion
1F300=cyclone, 1F30A=water wave, 1F30B=volcano, 1F5FB=mount fuji, 1F3DD-FE0F=desert island
1F30D=earth globe, 1FA90=ringed planet, 1F9ED=compass, 1F388=balloon, 26C4=snowman
1F3E0=house, 1F3ED=factory, 1F3F0=castle, 26EA=church, 1F5FC=tokyo tower, 1F5FD=statue of liberty
26FA=tent, 1F3AA=circus tent, 1F3A1=ferris wheel, 26F2=fountain
1F682=steam locomotive, 1F68C=bus, 1F691=ambulance, 1F692=fire engine, 1F693=police car, 1F695=taxi
1F697=car, 1F69A=delivery truck, 1F69C=tractor, 1F3CE-FE0F=racing car, 1F3CD-FE0F=motorcycle
1F6B2=bicycle, 1F6F4=kick scooter, 1F6F9=skateboard, 1F6FC=roller skate
1F680=rocket, 1F681=helicopter, 2708-FE0F=airplane, 1F6F8=flying saucer, 1FA82=parachute
26F5=sailboat, 1F6A2=ship, 1F6A4=speedboat, 2693=anchor, 1F6DF=ring buoy
1F6A6=traffic light, 1F6A8=police light, 1F6D1=stop sign, 26FD=fuel pump, 1F6A7=construction sign
26BD=soccer ball, 1F3C0=basketball, 26BE=baseball, 1F3D0=volleyball, 1F3B1=billiard ball
1F3C8=american football, 1F3B3=bowling pins, 1F3AF=dart board, 1F94A=boxing glove, 1F3D3=ping pong paddle
1F3C6=trophy, 1F3C5=sports medal, 1F947=first place medal, 1F396-FE0F=military medal
1F3B2=game die, 1F3AE=video game controller, 1F579-FE0F=joystick, 1F9E9=puzzle piece, 1F9F8=teddy bear
1F52E=crystal ball, 1FA81=kite, 1FA84=magic wand, 1F380=ribbon, 1F381=wrapped gift
1F384=christmas tree, 1F389=party popper, 1F386=fireworks, 2728=sparkles
1F3B7=saxophone, 1F3B8=guitar, 1F3BA=trumpet, 1F3BB=violin, 1F941=drum, 1FA97=accordion
1F3B9=piano keys, 1F3A4=microphone, 1F3A7=headphones, 1F4FB=radio, 1F3B5=musical note
1F3A8=artist palette, 1F3AD=theater masks, 1F5BC-FE0F=framed picture, 1F9F5=spool of thread, 1F9F6=ball of yarn
1F393=graduation cap, 1F3A9=top hat, 1F451=crown, 1F452=sun hat, 1F9E2=blue cap
1F453=eyeglasses, 1F576-FE0F=sunglasses, 1F454=necktie, 1F9E3=red scarf, 1F9E4=gloves
1F455=t-shirt, 1F456=jeans, 1F457=dress, 1F458=kimono, 1F459=bikini, 1F9E5=coat
1F45F=running shoe, 1F460=high-heeled shoe, 1F462=brown boot, 1F9E6=socks, 1FA74=flip flop
1F392=school backpack, 1F45C=handbag, 1F4BC=briefcase, 1F9F3=luggage, 1F6CD-FE0F=shopping bags
1F484=lipstick, 1F48D=diamond ring, 1F48E=gem stone, 1F302=closed umbrella, 2602-FE0F=open umbrella
1F4A1=light bulb, 1F56F-FE0F=candle, 1F526=flashlight, 1F3EE=red lantern
1F4F7=camera, 1F3A5=movie camera, 1F4FA=television, 1F4BB=laptop computer, 1F4F1=mobile phone
260E-FE0F=red telephone, 1F50B=battery, 1F50C=electric plug, 1F4BE=floppy disk, 1F4BF=optical disc
1F5A8-FE0F=printer, 1F5B1-FE0F=computer mouse, 2328-FE0F=keyboard, 1F3AC=clapper board
1F50D=magnifying glass, 1F52C=microscope, 1F52D=telescope, 1F9EA=test tube, 1F9EC=dna helix
1F4D5=red book, 1F4D7=green book, 1F4D8=blue book, 1F4DA=stack of books, 1F4D6=open book
1F4DC=scroll, 1F4F0=newspaper, 1F4C1=file folder, 1F4C5=calendar, 1F4CA=bar chart, 1F4CB=clipboard
1F4CC=pushpin, 1F4CE=paperclip, 1F4CF=ruler, 2702-FE0F=scissors, 1F5D1-FE0F=trash can
270F-FE0F=pencil, 1F58A-FE0F=pen, 1F58C-FE0F=paintbrush, 1F58D-FE0F=red crayon
1F4E6=cardboard box, 2709-FE0F=envelope, 1F48C=love letter, 1F4EE=red mailbox, 1F4B0=money bag, 1F4B3=credit card
1F511=key, 1F512=padlock, 1F514=yellow bell, 1F4E3=megaphone, 1FA99=gold coin
1F528=hammer, 1F527=wrench, 1FA93=axe, 1FA9A=carpentry saw, 1FA9B=screwdriver
1F4A3=bomb, 1F9F2=magnet, 2699-FE0F=gear, 1F529=nut and bolt, 1FA9C=ladder, 1F9F0=toolbox
1F3F9=bow and arrow, 1F5E1-FE0F=dagger, 2694-FE0F=crossed swords, 1F6E1-FE0F=shield, 1F52B=water pistol
1F489=syringe, 1F48A=pill, 1FA79=adhesive bandage, 1FA7A=stethoscope, 1F321-FE0F=thermometer
1F6AA=wooden door, 1F6BD=toilet, 1F6C1=bathtub, 1F6CF-FE0F=bed, 1FA91=chair, 1FA9F=window
1F9F9=broom, 1F9FA=basket, 1F9FB=toilet paper, 1F9FC=bar of soap, 1FAA3=bucket, 1F6D2=shopping cart
231B=hourglass, 23F0=alarm clock, 231A=watch, 23F1-FE0F=stopwatch
2764-FE0F=red heart, 1F499=blue heart, 1F49A=green heart, 1F49B=yellow heart, 1F49C=purple heart, 1F5A4=black heart
1F494=broken heart, 1F498=heart with arrow, 1F48B=kiss mark, 1F4AF=hundred points
1F600=grinning face, 1F60D=face with heart eyes, 1F60E=face with sunglasses, 1F922=nauseated face, 1F621=angry red face
1F637=face with mask, 1F920=cowboy hat face, 1F921=clown face, 1F4A9=pile of poo
267B-FE0F=recycling symbol, 26A0-FE0F=warning sign, 26D4=no entry sign, 2622-FE0F=radioactive sign
2705=check mark, 274C=cross mark, 2753=question mark, 2757=exclamation mark, 262F-FE0F=yin yang
"""


@dataclass(frozen=True, slots=True)
class Name:
    """One known emoji: its code point (the npm packages' ``unified``), name and look-alikes."""

    code: str
    name: str
    siblings: tuple[str, ...]


def families() -> list[list[tuple[str, str]]]:
    """The families in order, each a list of ``(code, name)``."""
    return [
        [(code, name) for code, _, name in (item.partition("=") for item in line.split(", "))]
        for line in _FAMILIES.strip().splitlines()
    ]


def known_names() -> list[Name]:
    """All known emoji in a fixed order; siblings are the next (at most five) of the family."""
    known = []
    for family in families():
        for position, (code, name) in enumerate(family):
            others = family[position + 1 :] + family[:position]
            known.append(Name(code, name, tuple(code for code, _ in others[:5])))
    return known
